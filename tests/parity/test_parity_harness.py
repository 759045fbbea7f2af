"""An exported folder through lm-evaluation-harness's ``hf`` backend and through ours: the same requests, the same numbers."""

import functools
import json
import shutil
import sys

import pytest
from deep import with_deep
from harness_peer import differences, evaluate, invented_tasks, numbers_of, samples_of, ties_of, write_mmlu

from flan_jax.cli.lm_eval import register
from flan_jax.cli.main import main
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.models.huggingface import writer
from flan_jax.testing import tokenizers
from flan_jax.testing.folders import BEGIN, END, PAD, TURN, chat_model
from flan_jax.testing.models import random_params, tiny_t5

CLOSE = 1e-3
"""Nats by which log-likelihoods of two backends may differ."""

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

pytest.importorskip("torch")
pytest.importorskip("lm_eval")

GENERATION = {"until": ["\n", "mat", "z"], "max_gen_toks": 12, "do_sample": False}
# The harness lets an encoder–decoder of Hugging Face's write as many tokens more as its input has; `max_length` does not.
GENERATION_T5 = {"until": ["mat", "z"], "max_length": 13, "do_sample": False}
KINDS = ["llama", "qwen", "t5"]
OF_ONE = pytest.mark.parametrize("model", with_deep(KINDS[:1], KINDS[1:]), indirect=True)
"""Of a test in which all models take the same way."""


# Tables are as large as vocabularies: transformers would write ids behind them, which nobody writes here.


def decoder(folder, *, begins, **fields):
    size = tokenizers.byte_level(PAD, BEGIN, END, TURN).get_vocab_size()
    chat_model(folder, begins=begins, d_model=24, max_positions=2048, vocab_size=size, **fields)
    name_tokenizer(folder)
    if begins:  # as Llama's tokenizer.json says it
        path = folder / "tokenizer.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        ids = {"id": BEGIN, "ids": [1], "tokens": [BEGIN]}
        single = [{"SpecialToken": {"id": BEGIN, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
        pair = [*single, {"Sequence": {"id": "B", "type_id": 0}}]
        content["post_processor"] = {
            "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": {BEGIN: ids},
        }  # fmt: skip
        path.write_text(json.dumps(content), encoding="utf-8")


def encoder_decoder(folder):
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "model_max_length": 2048}
    tokenizers.save(folder, tokenizers.t5(), names)
    # Layers and tables as transformers 5 has them whatever config.json says: as many in the decoder, and one table of
    # tokens; the harness ties what was read untied.
    config = tiny_t5(vocab_size=load_vocabulary(folder).size, d_model=24, num_decoder_layers=2, tie_embeddings=True)
    writer.save(folder, config, random_params(config))
    name_tokenizer(folder)


def name_tokenizer(folder):
    """Tells transformers to take tokenizer.json as it is."""
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "tokenizer_class": "PreTrainedTokenizerFast"}), encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def registered():
    register()


@pytest.fixture(autouse=True)
def quick_command(monkeypatch):
    """Spares the harness's command what nobody looks at here; the guide's test lets it have its way."""
    from lm_eval.tasks import TaskManager

    # Ten thousand files of its own tasks, of which it makes an index each time.
    own = functools.partialmethod(TaskManager.__init__, include_defaults=False)
    monkeypatch.setattr(TaskManager, "__init__", own)
    # 100,000 samples for the error of a perplexity.
    monkeypatch.setattr("lm_eval.api.metrics.bootstrap_stderr", lambda metric, values, iters: 0.0)


@pytest.fixture(scope="module", params=KINDS)
def model(request, tmp_path_factory):
    """Kind and folder of a model with random weights."""
    folder = tmp_path_factory.mktemp("models") / request.param
    if request.param == "t5":
        encoder_decoder(folder)
    elif request.param == "llama":
        decoder(folder, begins=True)
    else:
        decoder(folder, begins=False, attention_bias=True)
    return request.param, folder


@pytest.fixture(scope="module")
def tasks(model, tmp_path_factory):
    """Names of local tasks, and the folder of their files."""
    folder = tmp_path_factory.mktemp("tasks")
    return invented_tasks(folder, GENERATION_T5 if model[0] == "t5" else GENERATION), folder


@pytest.fixture(scope="module")
def both(model, tasks):
    """The harness's results by its ``hf`` backend and by ours."""
    _, folder = model
    theirs = evaluate("hf", {"pretrained": str(folder), "dtype": "float32"}, *tasks, batch_size=3)
    return theirs, evaluate("flan_jax", {"path": str(folder)}, *tasks, batch_size=4)


def test_every_request_has_the_same_answer(both):
    theirs, ours = both
    found = differences(theirs, ours)
    assert set(found) == {"cats_letter", "cats_words", "texts_written", "texts_rolling"}
    assert max(found.values()) < 1e-3
    assert found["cats_letter"] != 0 or found["cats_words"] != 0, "two implementations round otherwise"


def test_the_metrics_are_the_same(both, model):
    theirs, ours = map(numbers_of, both)
    assert theirs.keys() == ours.keys()
    # A model of random weights finds some letters equally likely: rounding may choose another of them.
    letters = "cats_letter"
    ties = ties_of({"samples": {letters: both[0]["samples"][letters]}}, 2 * CLOSE)
    assert model[0] == "t5" or not any(ties.values())
    for task, values in theirs.items():
        assert values == pytest.approx(ours[task], rel=1e-4, abs=ties.get(task, 0.0) + 1e-9), task


def test_texts_are_written_and_some_end_at_a_stop_text(both):
    texts = [sample.answer for sample in samples_of(both[1])["texts_written"]]
    assert any(texts)
    assert len(set(texts)) > 1
    assert not any(stop in text for text in texts for stop in ("mat", "z"))


@pytest.mark.parametrize(
    ("model", "multiturn"),
    with_deep([("llama", True), ("qwen", False)], [("llama", False), ("qwen", True)]),
    indirect=["model"],
)
def test_chat_templates_give_the_same_prompts_and_numbers(model, tasks, multiturn):
    _, folder = model  # an encoder–decoder knows no turns
    options = {
        "apply_chat_template": True,
        "fewshot_as_multiturn": multiturn,
        "system_instruction": "be a cat",
        "limit": 3,
    }
    names, where = tasks
    names = [name for name in names if not name.endswith("rolling")]
    theirs = evaluate("hf", {"pretrained": str(folder), "dtype": "float32"}, names, where, batch_size=4, **options)
    ours = evaluate("flan_jax", {"path": str(folder)}, names, where, batch_size=4, **options)
    assert max(differences(theirs, ours).values()) < 1e-3
    context = samples_of(ours)["cats_letter"][0].arguments
    assert str(context).count("<|turn|>") == (6 if multiturn else 2)


def test_the_harness_s_own_models_are_still_there():
    from lm_eval.api.registry import get_model

    register()  # once more
    assert get_model("hf").__name__ == "HFLM"
    assert get_model("flan_jax").__name__ == "FlanJaxLM"


@OF_ONE
def test_the_command_caches_answers_and_gives_the_numbers_again(model, tasks, both, tmp_path, capsys):
    _, folder = model
    names, where = tasks
    arguments = ["harness", "--model_dir", str(folder), "--", "--tasks", ",".join(names), "--include_path", str(where)]
    arguments += ["--use_cache", str(tmp_path / "cache" / "answers"), "--output_path", str(tmp_path / "out")]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "cats_letter" in shown
    assert (tmp_path / "cache" / "answers_rank0.db").is_file()
    expected = numbers_of(both[1])
    (first,) = (tmp_path / "out").rglob("results_*.json")
    saved = json.loads(first.read_text(encoding="utf-8"))["results"]
    assert {task: pytest.approx(saved[task]["acc,none"]) for task in names[:2]} == {
        task: expected[task]["acc,none"] for task in names[:2]
    }
    # Every answer is in the cache now, so a model that cannot compute gives them again.
    shutil.rmtree(tmp_path / "out")
    from flan_jax.harness.language_model import FlanJaxLM

    with pytest.MonkeyPatch.context() as patch:
        for name in ("loglikelihood", "loglikelihood_rolling", "generate_until"):
            patch.setattr(FlanJaxLM, name, lambda self, requests: pytest.fail("computed again"))
        assert main(arguments) == 0
    (second,) = (tmp_path / "out").rglob("results_*.json")
    again = json.loads(second.read_text(encoding="utf-8"))["results"]
    assert {task: again[task] for task in names} == {task: saved[task] for task in names}


@OF_ONE
def test_what_the_harness_refuses_is_one_sentence(model, tmp_path, capsys):
    _, folder = model
    before = list(sys.argv)
    command = ["harness", "--model_dir", str(folder), "--", "--tasks"]
    assert main([*command, "no_such_task", "--include_path", str(tmp_path)]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: lm-evaluation-harness refuses its arguments: ")
    assert "no_such_task" in said
    assert main([*command, "a", "--log_samples"]) == 2
    assert "--output_path" in capsys.readouterr().err
    assert sys.argv == before


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("model", "subject"),
    with_deep([("llama", "anatomy"), ("t5", "college_chemistry")], [("llama", "college_chemistry"), ("t5", "anatomy")]),
    indirect=["model"],
)  # one decoder is enough
def test_real_subjects_of_mmlu(model, subject, realdata, tmp_path):
    kind, folder = model
    files = [realdata / "mmlu" / split / f"{subject}_{split}.csv" for split in ("test", "dev")]
    names = write_mmlu(tmp_path, subject, *files, shots=1)
    options = {"batch_size": 8, "limit": 8}
    theirs = evaluate("hf", {"pretrained": str(folder), "dtype": "float32"}, names, tmp_path, **options)
    ours = evaluate("flan_jax", {"path": str(folder)}, names, tmp_path, **options)
    assert max(differences(theirs, ours).values()) < CLOSE
    # A model of random weights finds some letters equally likely: rounding may choose another of them.
    ties = ties_of(theirs, 2 * CLOSE)
    for task, numbers in numbers_of(theirs).items():
        assert numbers_of(ours)[task] == pytest.approx(numbers, abs=ties[task] + 1e-9)
    assert kind == "t5" or not any(ties.values())
