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

GENERATION = {"until": ["\n\n", "Question:"], "max_gen_toks": 24, "do_sample": False}
TEXTS = [
    "What is the capital of France?",
    "Name three colors of a rainbow.",
    "If a train has 4 cars with 12 seats each, how many seats are there?",
    "Why is the sky blue?",
]


def both(folder, names, where, **options):
    """The harness's results by its ``hf`` backend and by ours."""
    register()
    theirs = evaluate("hf", {"pretrained": str(folder), "dtype": "float32"}, names, where, batch_size=4, **options)
    return theirs, evaluate("flan_jax", {"path": str(folder)}, names, where, batch_size=4, **options)


def check(theirs, ours):
    assert max(differences(theirs, ours).values()) < 1e-3
    left, right = numbers_of(theirs), numbers_of(ours)
    for task, values in left.items():
        assert values == pytest.approx(right[task], rel=1e-4), task


@pytest.mark.realdata
def test_subjects_of_mmlu(realweights, realdata, tmp_path):
    names = []
    for subject in ("anatomy", "college_mathematics"):
        files = [realdata / "mmlu" / split / f"{subject}_{split}.csv" for split in ("test", "dev")]
        names += write_mmlu(tmp_path, subject, *files, shots=2)
    check(*both(realweights, names, tmp_path, limit=6))


def test_texts_are_written_and_scored_alike(realweights, tmp_path):
    names = write_texts(tmp_path, "texts", TEXTS, ["Paris"] * len(TEXTS), GENERATION)
    theirs, ours = both(realweights, names, tmp_path)
    check(theirs, ours)
    assert any(sample.answer for sample in samples_of(ours)["texts_written"])


def test_conversations_in_the_model_s_own_template(realweights, tmp_path):
    names = write_texts(tmp_path, "texts", TEXTS[:2], ["Paris"] * 2, GENERATION)[:1]
    theirs, ours = both(realweights, names, tmp_path, apply_chat_template=True, system_instruction="Answer in a word.")
    check(theirs, ours)
    assert "<|im_start|>user\nQuestion: What is the capital" in samples_of(ours)["texts_written"][0].arguments[0]
