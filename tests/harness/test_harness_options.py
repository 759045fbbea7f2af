"""What a user or a task says is honored or refused: arguments of the model, of generation, of the command, and the version."""

import importlib.metadata

import pytest

from flan_jax.cli.commands import harness
from flan_jax.cli.main import build_parser, main
from flan_jax.data.chat.templates import CHATML, ChatTemplate
from flan_jax.errors import UserError
from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.harness.chat_prompts import render_chat
from flan_jax.harness.generation_options import decoding_config
from flan_jax.harness.model_arguments import AUTO_ROWS, ModelArguments
from flan_jax.harness.versions import check_version


def decoding(given, folder=None, *, decoder_only=True):
    return decoding_config(given, folder=folder or {}, seed=7, decoder_only=decoder_only)


@pytest.mark.parametrize(
    ("given", "config"),
    [
        ({}, DecodingConfig(max_length=256)),
        ({"until": "\n", "do_sample": False, "temperature": 0.0}, DecodingConfig(max_length=256, stop=("\n",))),
        ({"until": ["\n", "", "."], "max_new_tokens": 5, "max_gen_toks": 6}, DecodingConfig(max_length=6, stop=("\n", "."))),
        ({"do_sample": False, "temperature": 0.7, "top_p": 0.5}, DecodingConfig(max_length=256)),
        ({"temperature": 0.5, "top_k": 3}, DecodingConfig("sample", temperature=0.5, top_k=3, max_length=256, seed=7)),
        ({"do_sample": True, "temperature": 1.0}, DecodingConfig("sample", max_length=256, seed=7)),
        (
            {"num_beams": 3, "length_penalty": 0.5, "repetition_penalty": 1.2, "min_new_tokens": 2},
            DecodingConfig("beam", beams=3, length_penalty=0.5, repetition_penalty=1.2, min_length=2, max_length=256),
        ),
    ],
)  # fmt: skip
def test_generation_arguments(given, config):
    assert decoding(given) == config


def test_a_folder_s_settings_stand_where_the_request_says_nothing_and_draw_nothing():
    folder = {"method": "sample", "temperature": 0.3, "repetition_penalty": 1.1, "stop": ("END",)}
    found = decoding({"until": ["\n"]}, folder)
    assert found == DecodingConfig(max_length=256, repetition_penalty=1.1, stop=("END", "\n"))
    beams = {"method": "beam", "beams": 4, "length_penalty": 0.6}
    assert decoding({}, beams) == DecodingConfig("beam", beams=4, length_penalty=0.6, max_length=256)
    assert decoding({"num_beams": 1}, beams) == DecodingConfig(max_length=256)


def test_a_length_of_all_is_the_decoder_s_row_and_refused_where_the_prompt_is_in_it():
    assert decoding({"max_length": 9}, decoder_only=False).max_length == 8
    with pytest.raises(UserError, match="max_length=9 counts the prompt too"):
        decoding({"max_length": 9})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_gen_tok": 3}, "'max_gen_tok' is not honored by flan_jax. Did you mean 'max_gen_toks'"),
        ({"do_sample": True}, "temperature 0. Give a temperature above 0"),
        ({"temperature": 1, "num_beams": 2}, "Give one of them"),
        ({"repetition_penalty": -1}, "repetition_penalty"),
    ],
)
def test_generation_arguments_that_cannot_be(given, words):
    with pytest.raises(UserError, match=words):
        decoding(given)


def test_model_arguments():
    given = {"path": 123, "step": 4, "batch_size": "auto:2", "max_batch_size": 8, "device": "cuda:0"}
    assert ModelArguments.parse(given) == ModelArguments("123", step=4, rows=8)
    assert ModelArguments.parse({"path": "a", "batch_size": "auto"}).rows == AUTO_ROWS
    assert ModelArguments.parse({"path": "a", "batch_size": None}).rows == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "needs the model's folder: --model_args path=FOLDER"),
        ({"pretrained": "a"}, "no model argument 'pretrained'. Did you mean 'path'"),
        ({"path": "a", "max_lenght": 3}, "Did you mean 'max_length'"),
        ({"path": "a", "max_length": 0}, "max_length"),
        ({"path": "a", "dtype": "float8"}, "dtype"),
        ({"path": "a", "batch_size": "many"}, "--batch_size many must be a whole number"),
    ],
)
def test_model_arguments_that_cannot_be(given, words):
    with pytest.raises(UserError, match=words):
        ModelArguments.parse(given)


def command_line(*words):
    return harness.command_line(build_parser().parse_args(["harness", *words]))


def test_the_command_names_the_model_and_hands_on_the_rest():
    found = command_line("--model_dir", "/runs/one", "--step", "20", "--", "--tasks", "mine", "-L", "3")
    assert found == [
        "run", "--model", "flan_jax", "--model_args", "path=/runs/one,step=20", "--batch_size", "auto", "--tasks", "mine", "-L", "3",
    ]  # fmt: skip
    assert command_line("--model_dir", "hf:a/b", "--", "run", "-b=4")[3:] == ["--model_args", "path=hf:a/b", "-b=4"]
    assert command_line("--", "--model", "hf", "--tasks", "mine") == ["--model", "hf", "--tasks", "mine"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--model_dir", "a", "--", "--model", "hf"],
            "--model_dir names the model, and --model names one to the harness",
        ),
        (["--step", "3", "--", "--tasks", "mine"], "--step is of the model in --model_dir"),
        (["--model_dir", "a,b"], "has a comma"),
    ],
)
def test_command_lines_that_cannot_be(words, sentence):
    with pytest.raises(UserError, match=sentence):
        command_line(*words)


@pytest.mark.parametrize("version", ["0.4.12", "0.4.13", "0.4.20", "0.5.0.dev1", "0.5.0"])
def test_supported_versions(version, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    assert check_version() == version


@pytest.mark.parametrize("version", ["0.3.0", "0.4.9.2", "0.5.1", "1.0.0", "main"])
def test_another_version_is_refused_and_named(version, monkeypatch, capsys):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    assert main(["harness", "--model_dir", "a", "--", "--tasks", "mine"]) == 2
    said = capsys.readouterr().err
    assert f"lm-evaluation-harness {version} is installed" in said
    assert "0.4.12" in said


def test_without_the_harness_the_command_says_how_to_get_it(monkeypatch, capsys):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert main(["harness", "--model_dir", "a"]) == 2
    assert "lm-evaluation-harness is not installed. Install it with its extra" in capsys.readouterr().err


TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "I am "}]  # fmt: skip


def test_a_last_turn_is_gone_on_from():
    text = render_chat(CHATML, TURNS, add_generation_prompt=False)
    assert text.endswith("<|im_start|>assistant\nI am")
    assert render_chat(CHATML, TURNS[:2]).endswith("Hello<|im_end|>\n<|im_start|>assistant\n")


def test_a_template_without_a_system_goes_without(caplog):
    refuses = ChatTemplate("mine", "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}[{{ m.content }}]{% endfor %}")  # fmt: skip
    assert render_chat(refuses, TURNS[:2]) == "[Hello]"
    assert "takes no system message" in caplog.text
    with pytest.raises(UserError, match="no"):
        render_chat(ChatTemplate("none", "{{ raise_exception('no') }}"), TURNS[1:2])
