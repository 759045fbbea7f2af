"""SmolLM2 through lm-evaluation-harness's ``hf`` backend and through ours: subjects of MMLU, generation and perplexity."""

import sys
from pathlib import Path

import pytest

from flan_jax.cli.lm_eval import register

sys.path.append(str(Path(__file__).parents[1] / "parity"))
from harness_peer import differences, evaluate, numbers_of, samples_of, write_mmlu, write_texts

pytestmark = [
    pytest.mark.realweights,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
    pytest.mark.timeout(1200),
]

pytest.importorskip("torch")
pytest.importorskip("lm_eval")

GENERATION = {"until": ["\n\n", "Question:"], "max_gen_toks": 12, "do_sample": False}
TEXTS = [
    "What is the capital of France?",
    "Name three colors of a rainbow.",
    "If a train has 4 cars with 12 seats each, how many seats are there?",
    "Why is the sky blue?",
]


@pytest.fixture(scope="module")
def backends(realweights, peer):
    """The harness's ``hf`` backend and ours, each with the model in memory for all tests here."""
    from lm_eval.api.registry import get_model

    register()
    theirs = get_model("hf")(pretrained=peer.model, tokenizer=peer.tokenizer, batch_size=4)
    return theirs, get_model("flan_jax").create_from_arg_obj({"path": str(realweights)}, {"batch_size": 4})


def both(backends, names, where, **options):
    """The harness's results by its ``hf`` backend and by ours."""
    theirs, ours = (evaluate(backend, {}, names, where, **options) for backend in backends)
    return theirs, ours


def check(theirs, ours):
    assert max(differences(theirs, ours).values()) < 1e-3
    left, right = numbers_of(theirs), numbers_of(ours)
    for task, values in left.items():
        assert values == pytest.approx(right[task], rel=1e-4), task


@pytest.mark.realdata
def test_subjects_of_mmlu(backends, realdata, tmp_path):
    names = []
    for subject in ("anatomy", "college_mathematics"):
        files = [realdata / "mmlu" / split / f"{subject}_{split}.csv" for split in ("test", "dev")]
        names += write_mmlu(tmp_path, subject, *files, shots=2)
    check(*both(backends, names, tmp_path, limit=4))


def test_texts_are_written_and_scored_alike(backends, tmp_path):
    names = write_texts(tmp_path, "texts", TEXTS, ["Paris"] * len(TEXTS), GENERATION)
    theirs, ours = both(backends, names, tmp_path)
    check(theirs, ours)
    assert any(sample.answer for sample in samples_of(ours)["texts_written"])


def test_conversations_in_the_model_s_own_template(backends, tmp_path):
    names = write_texts(tmp_path, "texts", TEXTS[:2], ["Paris"] * 2, GENERATION)[:1]
    theirs, ours = both(backends, names, tmp_path, apply_chat_template=True, system_instruction="Answer in a word.")
    check(theirs, ours)
    assert "<|im_start|>user\nQuestion: What is the capital" in samples_of(ours)["texts_written"][0].arguments[0]
