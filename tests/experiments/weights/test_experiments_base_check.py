"""A base of another model or with another tokenizer is refused, whatever kind of folder it is."""

import dataclasses
import json
import shutil

import pytest

from flan_jax.cli.main import main
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.options import EvalConfig
from flan_jax.experiments.train import train
from flan_jax.experiments.weights import base_check
from flan_jax.experiments.weights.base_check import check_same_vocabulary
from flan_jax.experiments.weights.import_hf import import_folder
from flan_jax.experiments.weights.initial import initial_params
from flan_jax.experiments.weights.pretrained import pretrained_model
from flan_jax.models.huggingface import writer
from flan_jax.models.ops.rope import RopeScaling
from flan_jax.testing.folders import chat_model
from flan_jax.testing.models import random_params, tiny_t5
from flan_jax.train.optimizer import OptimizerConfig

KINDS = ("published", "imported", "run")
SHAPE = {"d_model": 24, "num_layers": 2, "sliding_window": 8, "window_pattern": (True, False), "family": "gemma2"}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """One model as a Hugging Face folder, as an imported one and as a run's, all with their tokenizer."""
    root = tmp_path_factory.mktemp("bases")
    gemma = {
        "norm_offset": True, "embed_scale": True, "norm_placement": "both", "mlp_activation": "gated-gelu_tanh",
        "attention_softcap": 50.0, "logit_softcap": 30.0, "norm_epsilon": 1e-6, "tie_embeddings": True,
    }  # fmt: skip
    chat_model(root / "published", **SHAPE, **gemma)
    import_folder(root / "published", root / "imported")
    train(config(root, "published", model_dir=str(root / "run"), steps=1))
    return root


def config(root, kind, **changes):
    folder = str(root / kind)
    vocabulary = load_vocabulary(root / "published")
    model = pretrained_model(str(root / "published"), eos_id=2, bos_id=1, reads_start=vocabulary.adds_bos)
    values = {
        "model_dir": str(root / "next"), "mixture": "word_category", "lengths": {"inputs": 48, "targets": 16}, "model": model,
        "optimizer": OptimizerConfig(name="adamw"), "steps": 1, "batch_size": 8, "log_period": 1,
        "initial_checkpoint": folder, "vocabulary": str(root / "published"), "evaluation": EvalConfig(suites=()),
        "store": str(root / "store"),
    }  # fmt: skip
    return RunConfig.from_options(**{**values, **changes})


OTHER = {
    "rope_theta": 500.0,
    "rope_scaling": RopeScaling("linear", 2.0),
    "mlp_activation": "gated-silu",
    "sliding_window": 4,
    "window_pattern": (False, True),
    "norm": "layer",
    "norm_offset": False,
    "norm_epsilon": 1e-5,
    "query_scale": 0.9,
    "attention_softcap": None,
    "logit_softcap": 15.0,
    "embed_scale": False,
    "local_rope_theta": 77.0,
    "bos_id": 3,
    "reads_start": False,
}


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_computes_something_else_is_refused(kind, name, bases):
    ours = config(bases, kind)
    wrong = ours.with_options(model=dataclasses.replace(ours.model, **{name: OTHER[name]}))
    with pytest.raises(UserError) as caught:
        initial_params(wrong)
    said = str(caught.value)
    assert f"of a model with {name}=" in said
    assert "the configured model has" in said
    assert "Give the run the same" in said


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_model_is_taken_whatever_is_free(kind, bases):
    ours = config(bases, kind)
    free = dataclasses.replace(
        ours.model, dropout_rate=0.3, remat="full", attention="dense", stop_ids=(5,), family="", prefix_lm=True
    )
    assert initial_params(ours.with_options(model=free)) is not None


def test_kinds_of_model_are_told_apart(bases):
    for kind in KINDS:
        with pytest.raises(UserError, match=r"those of a decoder, and the configured model is an encoder-decoder"):
            initial_params(config(bases, kind, model=tiny_t5(vocab_size=400)))


@pytest.mark.parametrize("kind", KINDS)
def test_another_tokenizer_is_refused_or_accepted_by_name(kind, bases):
    said: list[str] = []
    words = load_vocabulary("bytes")
    with pytest.raises(
        UserError, match=r"were trained with the tokenizer .* ids\), and this run reads text with 'bytes'"
    ):
        check_same_vocabulary(config(bases, kind), words)
    check_same_vocabulary(config(bases, kind, on_vocabulary_change="accept"), words, log=said.append)
    assert len(said) == 1
    assert "as run.on_vocabulary_change='accept' asks for" in said[0]
    check_same_vocabulary(config(bases, kind), load_vocabulary(bases / "published"), log=said.append)
    assert len(said) == 1


def test_a_tokenizer_with_another_end_numbers_text_alike(bases, tmp_path):
    shutil.copytree(bases / "published", tmp_path / "chat")
    path = tmp_path / "chat" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token": "<|turn|>"}), encoding="utf-8")
    ours = load_vocabulary(tmp_path / "chat")
    assert ours.fingerprint() != load_vocabulary(bases / "published").fingerprint()
    for kind in KINDS:
        check_same_vocabulary(config(bases, kind), ours)


def test_a_folder_that_names_no_tokenizer_is_taken_and_that_is_said(bases, tmp_path):
    ours = config(bases, "imported")
    writer.save(tmp_path / "bare", ours.model, random_params(ours.model))
    shutil.copytree(bases / "imported", tmp_path / "old", ignore=shutil.ignore_patterns("import.json", "tokenizer*"))
    for name in ("bare", "old"):
        said: list[str] = []
        given = ours.with_options(initial_checkpoint=str(tmp_path / name))
        check_same_vocabulary(given, load_vocabulary("bytes"), log=said.append)
        assert "says which tokenizer its weights were trained with" in said[0]
        silent = dataclasses.replace(given.model, reads_start=False)  # of a tokenizer, and there is none
        assert initial_params(given.with_options(model=silent)) is not None


def test_a_tokenizer_that_was_exchanged_after_the_import_is_seen(bases, tmp_path):
    shutil.copytree(bases / "imported", tmp_path / "imported")
    for path in tmp_path.glob("imported/tokenizer*"):
        path.unlink()
    chat_model(tmp_path / "other", vocab_size=420)
    record = json.loads((tmp_path / "imported" / "import.json").read_text())
    assert record["vocabulary"]["fingerprint"] == load_vocabulary(bases / "published").fingerprint()
    with pytest.raises(UserError, match="were trained with the tokenizer"):
        check_same_vocabulary(
            config(bases, "x", initial_checkpoint=str(tmp_path / "imported")), load_vocabulary("bytes")
        )


def test_a_prefix_model_is_not_read_in_one_direction(bases, tmp_path):
    ours = config(bases, "published", model_dir=str(tmp_path / "prefix"))
    train(ours.with_options(model=dataclasses.replace(ours.model, prefix_lm=True)))
    with pytest.raises(UserError, match="prefix_lm=True, and the configured model has False"):
        initial_params(ours.with_options(initial_checkpoint=str(tmp_path / "prefix")))


def test_the_command_line_refuses_it_in_a_sentence(bases, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [
        "train", "--gin_file", "models/huggingface.gin", "--gin_file", "runs/finetune.gin", "--gin.MODEL_DIR=out",
        f"--gin.INITIAL_CHECKPOINT_PATH={bases / 'published'}", "--gin.MIXTURE_OR_TASK_NAME=word_category",
        "--gin.TASK_FEATURE_LENGTHS={'inputs': 48, 'targets': 16}", "--gin.TRAIN_STEPS=1", "--gin.VOCABULARY=bytes",
    ]  # fmt: skip
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "--gin.run.on_vocabulary_change=accept" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_probes_hold_more_than_one_script():
    assert len({ord(letter) >> 7 for text in base_check._PROBES for letter in text}) > 8
