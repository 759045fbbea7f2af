"""A folder's generation_config.json is followed or reported, key by key."""

import json

import jax
import numpy as np
import pytest

from flan_jax.cli.main import main
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.experiments.generation_config import FolderSettings, folder_settings
from flan_jax.experiments.weights.pretrained import run_of_folder
from flan_jax.models.build import init_model, logical_axes
from flan_jax.models.huggingface import peft
from flan_jax.models.peft.adapters import attach, split
from flan_jax.models.peft.config import TuningConfig
from flan_jax.testing.folders import chat_model


def settings(tmp_path, **given):
    (tmp_path / "generation_config.json").write_text(json.dumps(given), encoding="utf-8")
    return folder_settings(tmp_path)


def test_a_folder_without_settings_writes_greedily(tmp_path):
    assert folder_settings(tmp_path) == FolderSettings()
    quiet = settings(
        tmp_path, _from_model_config=True, eos_token_id=[2, 3], pad_token_id=0, do_sample=False, temperature=0.7, top_p=0.9,
        transformers_version="5.0", num_beams=1, max_length=20, no_repeat_ngram_size=0, repetition_penalty=1.0, min_p=None,
    )  # fmt: skip
    assert quiet == FolderSettings()
    assert quiet.lines() == []


def test_what_is_followed_is_named(tmp_path):
    found = settings(tmp_path, do_sample=True, temperature=0.7, top_p=0.8, repetition_penalty=1.1, max_new_tokens=99)
    assert found.decoding == {
        "method": "sample", "temperature": 0.7, "top_k": 50, "top_p": 0.8, "repetition_penalty": 1.1
    }  # fmt: skip
    assert found.max_tokens == 99
    (line,) = found.lines()
    for part in (
        "do_sample=True",
        "temperature=0.7",
        "top_p=0.8",
        "repetition_penalty=1.1",
        "max_new_tokens=99",
        "top_k=50",
    ):
        assert part in line
    assert "--temperature 0 writes greedily" in line
    assert "--top_p of the command line come first" in found.lines(["--top_p"])[0]
    beams = settings(
        tmp_path, num_beams=4, length_penalty=0.5, early_stopping=True, min_new_tokens=3, stop_strings=["Q:"]
    )
    assert beams.decoding == {
        "method": "beam", "beams": 4, "length_penalty": 0.5, "early_stopping": True, "min_length": 3, "stop": ("Q:",)
    }  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        {"no_repeat_ngram_size": 3}, {"typical_p": 0.9}, {"min_p": 0.05}, {"bad_words_ids": [[5]]}, {"max_length": 512},
        {"suppress_tokens": [4]}, {"forced_bos_token_id": 7}, {"penalty_alpha": 0.6}, {"a_key_of_tomorrow": "x"},
        {"do_sample": True, "num_beams": 4}, {"num_return_sequences": 2}, {"encoder_repetition_penalty": 1.5},
    ],
)  # fmt: skip
def test_what_is_not_followed_is_named_with_its_value(given, tmp_path):
    found = settings(tmp_path, **given)
    name = list(given)[-1]
    assert found.ignored == (f"{name}={given[name]!r}",)
    assert f"not honoured of generation_config.json: {name}=" in found.lines()[-1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"do_sample": True, "temperature": -1}, "temperature is -1"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0"),
        ({"repetition_penalty": "much"}, "repetition_penalty is 'much'"),
        ({"max_new_tokens": "many"}, "max_new_tokens is 'many'"),
        ({"num_beams": 0}, "beams is 0"),
    ],
)
def test_a_value_that_cannot_be_is_refused(given, message, tmp_path):
    with pytest.raises(UserError, match=message):
        settings(tmp_path, **given)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "chat"
    chat_model(path)
    return path


def ask(folder, capsys, *options):
    assert main(["generate", "--model_dir", str(folder), *options, "the cat sat on"]) == 0
    return capsys.readouterr()


def test_a_folder_s_settings_change_what_is_written_and_options_come_first(folder, capsys):
    greedy = ask(folder, capsys, "--max_tokens", "6")
    assert greedy.err == ""
    path = folder / "generation_config.json"
    path.write_text(json.dumps({"repetition_penalty": 0.05, "max_new_tokens": 6, "typical_p": 0.5}), encoding="utf-8")
    penalized = ask(folder, capsys)
    assert "repetition_penalty=0.05, max_new_tokens=6" in penalized.err
    assert "not honoured of generation_config.json: typical_p=0.5" in penalized.err
    assert ask(folder, capsys, "--repetition_penalty", "1").out == greedy.out
    assert penalized.out == ask(folder, capsys, "--repetition_penalty", "0.05").out != greedy.out
    path.write_text(json.dumps({"do_sample": True, "temperature": 3.0, "max_new_tokens": 6}), encoding="utf-8")
    assert ask(folder, capsys).out == ask(folder, capsys, "--seed", "0").out != ask(folder, capsys, "--seed", "1").out
    assert ask(folder, capsys, "--temperature", "0").out == greedy.out
    path.unlink()


def test_one_token_is_written_where_one_is_asked_for(folder, capsys):
    vocabulary = load_vocabulary(folder)
    one = ask(folder, capsys, "--max_tokens", "1").out.removesuffix("\n")
    assert one in {vocabulary.decode([index]) for index in range(vocabulary.size)}
    assert len(one) < len(ask(folder, capsys, "--max_tokens", "9").out)


def test_an_adapter_is_asked_on_top_of_its_model(folder, tmp_path, capsys):
    model, tuning = run_of_folder(folder).model, TuningConfig(lora_rank=2, lora_patterns=("q", "v"))
    params = attach(init_model(model, jax.random.key(0))[1], logical_axes(model), tuning, jax.random.key(1))
    trained = jax.tree.map(lambda leaf: np.full_like(leaf, 0.5), split(params, tuning)[0])
    peft.save(tmp_path / "adapter", model, tuning, trained)
    plain = ask(folder, capsys, "--max_tokens", "6").out
    assert ask(folder, capsys, "--max_tokens", "6", "--adapter", str(tmp_path / "adapter")).out != plain
