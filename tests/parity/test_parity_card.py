"""The code in an exported model's card, run as it is printed, gives the answers that are given here."""

import json
import re

import numpy as np
import pytest

from flan_jax.cli.main import main
from flan_jax.experiments.weights.usage_snippet import _EXAMPLE
from flan_jax.models.huggingface import writer
from flan_jax.testing import tokenizers as made
from flan_jax.testing.folders import chat_model
from flan_jax.testing.models import random_params, tiny_t5

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("default"),  # the peers' own warnings are not ours to forbid
]

sentencepiece = pytest.importorskip("sentencepiece")
pytest.importorskip("torch")
pytest.importorskip("transformers")


def t5(folder):
    made.save(folder, made.t5(), {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"})
    config = tiny_t5(vocab_size=53, num_encoder_layers=2, num_decoder_layers=2)
    writer.save(folder, config, random_params(config))


def chat(folder):
    chat_model(folder, vocab_size=367, d_model=24)  # a model may not write what the tokenizer has no text for
    settings = {"eos_token_id": [2, 3], "do_sample": True, "temperature": 3.0, "repetition_penalty": 1.8}
    (folder / "generation_config.json").write_text(json.dumps(settings))


def bare_chat(folder):
    chat_model(folder, begins=False, vocab_size=367, d_model=24)


def run(*arguments):
    assert main([str(argument) for argument in arguments]) == 0, arguments


def printed_by_the_card(folder, capsys, monkeypatch):
    """What each piece of code prints, in the folder; a later one goes on where an earlier one ended."""
    monkeypatch.chdir(folder)
    names, printed = {}, []
    for code in re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL):
        capsys.readouterr()
        exec(code, names)
        printed.append(capsys.readouterr().out)
    return printed


def answers(model, capsys, *asked):
    printed = []
    for options in asked:
        capsys.readouterr()
        run("generate", "--model_dir", model, *options, _EXAMPLE)
        printed.append(re.sub(r"<unk>|<extra_id_\d+>", "", capsys.readouterr().out))  # as transformers leaves out
    assert all(text.strip() for text in printed), "a model that writes nothing shows nothing"
    return printed


@pytest.mark.parametrize(("kind", "asked"), [(t5, [[]]), (chat, [[], ["--chat"]]), (bare_chat, [[], ["--chat"]])])
def test_of_an_imported_model(kind, asked, tmp_path, capsys, monkeypatch):
    kind(tmp_path / "source")
    run("import-hf", tmp_path / "source", tmp_path / "imported")
    run("export-hf", tmp_path / "imported", tmp_path / "out", "--dtype", "bfloat16")
    # Rounded as it is, and greedily as the card's code writes, whatever the folder says of drawing.
    greedy = ["--temperature", "0", "--repetition_penalty", "1"]
    ours = answers(tmp_path / "out", capsys, *([*options, *greedy] for options in asked))
    assert printed_by_the_card(tmp_path / "out", capsys, monkeypatch) == ours


@pytest.mark.parametrize(
    ("kind", "setting", "asked"),
    [
        (t5, "run.separator=''", [[]]),
        (chat, "run.separator=''", [[], ["--chat"]]),
        (chat, "run.separator=' =>\\n'", [[]]),
        (chat, "CHAT_TEMPLATE=True", [[]]),
        (bare_chat, "run.separator=''", [[], ["--chat"]]),
    ],
)
def test_of_a_run(kind, setting, asked, tmp_path, capsys, monkeypatch):
    kind(tmp_path / "source")
    run(
        "train", "--gin_file", "models/huggingface.gin", "--gin_file", "runs/finetune.gin",
        f"--gin.INITIAL_CHECKPOINT_PATH={tmp_path / 'source'}", "--gin.MIXTURE_OR_TASK_NAME=word_category",
        "--gin.TRAIN_STEPS=1", "--gin.TASK_FEATURE_LENGTHS={'inputs': 192, 'targets': 24}", "--gin.BATCH_SIZE=8",
        f"--gin.MODEL_DIR={tmp_path / 'run'}", "--gin.LEARNING_RATE=1e-6", "--gin.EvalConfig.suites=()",
        f"--gin.{setting}",
    )  # fmt: skip
    run("export-hf", tmp_path / "run", tmp_path / "out")
    ours = answers(tmp_path / "run", capsys, *asked)
    assert printed_by_the_card(tmp_path / "out", capsys, monkeypatch)[: len(asked)] == ours
    named = json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"]
    assert json.loads((tmp_path / "out" / "config.json").read_text())["eos_token_id"] in (named, np.ravel(named)[0])


@pytest.mark.parametrize("model", ["t5_tiny", "decoder_mini"])
def test_of_a_run_whose_vocabulary_is_a_file_of_sentencepiece(model, tmp_path, capsys, monkeypatch):
    (tmp_path / "words.txt").write_text("the cat sat on the mat, and what is this review?\n" * 40)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "words.txt"), model_prefix=str(tmp_path / "words"), vocab_size=40, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    sizes = ["--gin.DecoderConfig.num_layers=1"] if model == "decoder_mini" else []
    run(
        "train", "--gin_file", f"models/{model}.gin", "--gin_file", "runs/finetune.gin", *sizes,
        "--gin.MIXTURE_OR_TASK_NAME=word_category", "--gin.TRAIN_STEPS=2", "--gin.BATCH_SIZE=8",
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 192, 'targets': 16}", f"--gin.VOCABULARY={tmp_path / 'words.model'}",
        f"--gin.MODEL_DIR={tmp_path / 'run'}", "--gin.EvalConfig.suites=()", "--gin.LEARNING_RATE=0.01",
    )  # fmt: skip
    run("export-hf", tmp_path / "run", tmp_path / "out")
    capsys.readouterr()
    run("generate", "--model_dir", tmp_path / "run", _EXAMPLE)
    ours = capsys.readouterr().out
    if model == "decoder_mini":  # the vocabulary names no beginning: rows had 0 there
        assert json.loads((tmp_path / "out" / "config.json").read_text())["bos_token_id"] == 0
    assert printed_by_the_card(tmp_path / "out", capsys, monkeypatch) == [ours]
