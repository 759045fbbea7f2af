"""Places of a run: ``~`` is the home folder for whatever reads them, and a run stays the same run."""

import json
import os
from pathlib import Path

import pytest

from flan_jax.data.sources.hub_models import model_folder
from flan_jax.data.templates.template_set import load_template_set
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.experiments import generate
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import store_path
from flan_jax.experiments.model_snapshot import description_folder
from flan_jax.models.huggingface import peft
from flan_jax.testing.models import tiny_t5
from flan_jax.testing.tokenizers import byte_level, save
from flan_jax.train.optimizer import OptimizerConfig

CONFIG = RunConfig.from_options(
    model_dir="runs/a", mixture="mini", lengths={"inputs": 8, "targets": 8}, model=tiny_t5(), steps=1, batch_size=8,
    optimizer=OptimizerConfig(),
)  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_base_is_found(home):
    (home / "base").mkdir()
    (home / "base" / "config.json").write_text("{}")
    assert model_folder("~/base") == description_folder("~/base") == home / "base"


def test_an_adapter_is_found(home):
    (home / "adapter").mkdir()
    with pytest.raises(UserError, match=f"'{home}/adapter' is no PEFT folder"):
        peft.load("~/adapter", tiny_t5())


def test_templates_are_found(home):
    templates = [{"inputs": "Say {text}", "targets": "{answer}"}]
    (home / "t.json").write_text(json.dumps({"name": "own", "tasks": {"rte": templates}}))
    assert load_template_set("~/t.json").tasks == ("rte",)


def test_a_vocabulary_is_found(home):
    folder = save(home / "tokenizer", byte_level("<pad>", "</s>", "<unk>"), {"eos_token": "</s>", "pad_token": "<pad>"})
    assert load_vocabulary("~/tokenizer").fingerprint() == load_vocabulary(folder).fingerprint()


def test_the_run_keeps_what_was_written():
    places = {"initial_checkpoint": "~/base", "initial_adapter": "~/a", "templates": "~/t.json", "vocabulary": "~/v"}
    identity = CONFIG.with_options(**places).identity()
    assert {name: identity[name] for name in places} == places


@pytest.mark.parametrize(("place", "store"), [("runs/a", "runs/store"), ("a", "store"), ("/x/a", "/x/store")])
def test_the_store_is_beside_the_run(place, store):
    assert store_path(CONFIG.with_options(model_dir=place)) == store


@pytest.mark.parametrize("place", [".", "./", "a/..", ".."])
def test_the_store_is_never_inside_the_run(place, home, monkeypatch):
    (home / "in" / "run").mkdir(parents=True)
    monkeypatch.chdir(home / "in" / "run")
    found = Path(store_path(CONFIG.with_options(model_dir=place)))
    assert found == Path(os.path.abspath(place)).parent / "store"
    assert not found.is_relative_to(Path(os.path.abspath(place)))


def test_a_vocabulary_is_known_where_the_data_of_the_mixture_are_gone(home):
    bytes_of = load_vocabulary("bytes")
    config = CONFIG.with_options(model_dir=str(home), mixture="mixture_that_is_gone")
    recorded = {"name": "bytes", "fingerprint": bytes_of.fingerprint()}
    (home / "manifest.json").write_text(json.dumps({"config": {}, "tasks": {}, "vocabulary": recorded}))
    assert generate._of_mixture(config).fingerprint() == bytes_of.fingerprint()
    other = {**recorded, "fingerprint": "another"}  # what has its name now is no longer it
    (home / "manifest.json").write_text(json.dumps({"config": {}, "tasks": {}, "vocabulary": other}))
    with pytest.raises(UserError, match="Unknown mixture"):
        generate._of_mixture(config)
