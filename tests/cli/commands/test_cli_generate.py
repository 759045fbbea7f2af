"""What the options of ``flan-jax generate`` say of how an answer is written."""

import argparse
import io

import pytest

from flan_jax.cli.commands import generate
from flan_jax.cli.main import main
from flan_jax.eval.decoding.config import GREEDY, DecodingConfig


def decoding(*options, **folder):
    parser = argparse.ArgumentParser()
    generate.add_arguments(parser)
    return generate.decoding_of(parser.parse_args(["--model_dir", "runs/a", *options]), folder)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), GREEDY),
        (("--temperature", "0", "--max_tokens", "5"), GREEDY),
        (("--temperature", "0.7"), DecodingConfig("sample", temperature=0.7)),
        (("--top_k", "5", "--top_p", "0.9", "--seed", "3"), DecodingConfig("sample", top_k=5, top_p=0.9, seed=3)),
        (("--beams", "4", "--stop", "Q:", "--stop", "A:"), DecodingConfig("beam", beams=4, stop=("Q:", "A:"))),
        (("--stop", "Q:"), DecodingConfig(stop=("Q:",))),
        (("--beams", "2", "--length_penalty", "0.6"), DecodingConfig("beam", beams=2, length_penalty=0.6)),
    ],
)
def test_options_say_how_to_write(options, expected):
    assert decoding(*options) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--temperature", "-1"), "--temperature is -1.0; it must be a finite number above 0"),
        (("--temperature", "0", "--top_k", "4"), "--temperature is 0.0; it must be a finite number above 0"),
        (("--top_p", "2"), "--top_p is 2.0; it must be a finite number above 0 and at most 1"),
        (("--beams", "0"), "--beams is 0; it must be a whole number of at least 1"),
        (("--beams", "3", "--top_k", "4"), "--beams searches for the likeliest answer, and --top_k draws one"),
        (("--stop", ""), "--stop has an empty entry"),
        (("--max_tokens", "-2"), "--max_tokens -2 must be at least 1"),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_sentence(options, message, tmp_path, capsys):
    assert main(["generate", "--model_dir", str(tmp_path), *options, "Hello"]) == 2
    assert message in capsys.readouterr().err


SAMPLED = {"method": "sample", "temperature": 0.6, "top_k": 50, "repetition_penalty": 1.2}
SEARCHED = {"method": "beam", "beams": 3, "length_penalty": 2.0}


@pytest.mark.parametrize(
    ("folder", "options", "expected"),
    [
        (SAMPLED, (), DecodingConfig("sample", 0.6, 50, repetition_penalty=1.2)),
        (SAMPLED, ("--seed", "4"), DecodingConfig("sample", 0.6, 50, repetition_penalty=1.2, seed=4)),
        (SAMPLED, ("--top_p", "0.5"), DecodingConfig("sample", 0.6, 50, 0.5, repetition_penalty=1.2)),
        (SAMPLED, ("--temperature", "0"), DecodingConfig(repetition_penalty=1.2)),
        (SAMPLED, ("--beams", "1", "--repetition_penalty", "1"), GREEDY),
        (SAMPLED, ("--beams", "2"), DecodingConfig("beam", beams=2, repetition_penalty=1.2)),
        (SEARCHED, (), DecodingConfig("beam", beams=3, length_penalty=2.0)),
        (SEARCHED, ("--length_penalty", "0.5"), DecodingConfig("beam", beams=3, length_penalty=0.5)),
        (SEARCHED, ("--temperature", "0"), GREEDY),
        (SEARCHED, ("--top_k", "2"), DecodingConfig("sample", top_k=2)),
        ({"min_length": 2, "stop": ("A",)}, ("--stop", "B"), DecodingConfig(min_length=2, stop=("A", "B"))),
    ],
)
def test_options_come_before_what_the_folder_says(folder, options, expected):
    assert decoding(*options, **folder) == expected


def test_the_folder_of_an_adapter_is_answered_with_the_way_to_use_it(tmp_path, capsys):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "some/base"}', encoding="utf-8")
    assert main(["generate", "--model_dir", str(tmp_path), "Hello"]) == 2
    said = capsys.readouterr().err
    assert f"flan-jax generate --model_dir some/base --adapter {tmp_path}" in said
    assert main(["generate", "--model_dir", "runs/a", "--adapter", str(tmp_path), "Hello"]) == 2
    assert "INITIAL_ADAPTER" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mode", "zs_opt", "Hello"), "--mode is of a task's template, and none is named"),
        (("--slot", "review=Fine.", "Hello"), "--slot is of a task's template"),
        (("--task", "review_sentiment", "Hello"), "fills a template, and a text is given too"),
        (("--task", "reviw_sentiment"), "Did you mean 'review_sentiment'"),
        (("--task", "review_sentiment", "--mode", "zs_op"), "Did you mean 'zs_opt'"),
        (("--task", "review_sentiment", "--template", "99"), "no template 99 that asks for the answer"),
    ],
)
def test_a_template_that_cannot_be_filled_is_told_in_a_sentence(options, message, tmp_path, capsys):
    assert main(["generate", "--model_dir", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err


class Echo:
    """Answers with what it is asked."""

    def answer(self, text, index=0):
        return f"{index} {text}"

    def stream(self, text, index=0):
        yield from (text[:3], text)


def asked(monkeypatch, *options, given="", terminal=False):
    monkeypatch.setattr(generate, "_answerer", lambda arguments, model_dir: Echo())
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    if terminal:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    return main(["generate", "--model_dir", "a", *options])


def test_slots_come_from_options_or_as_objects_a_line(monkeypatch, capsys):
    assert asked(monkeypatch, "--task", "review_sentiment", "--slot", "review=Fine.", "--compare", "b") == 0
    first, second = capsys.readouterr().out.split("b: ")
    assert first == f"a: {second}"
    assert "Fine." in first
    lines = '{"review": "Fine."}\n\n{"review": "Cold."}\n'
    assert asked(monkeypatch, "--task", "review_sentiment", "--mode", "no_template", given=lines) == 0
    assert capsys.readouterr().out.splitlines() == ["0 Fine.", "1 Cold."]
    assert asked(monkeypatch, "--task", "review_sentiment", given="Fine.\n") == 2
    assert "Standard input, line 1 is no JSON object" in capsys.readouterr().err


def test_a_terminal_sees_an_answer_grow(monkeypatch, capsys):
    written = []
    monkeypatch.setattr("builtins.print", lambda *parts, end="\n", **kwargs: written.append("".join(parts) + end))
    assert asked(monkeypatch, "Hello", terminal=True) == 0
    assert "".join(written) == "Hello\n"
    assert "Hel" in written
