"""``flan-jax eval --benchmark``: options, refusals and exit codes."""

import argparse
import json

import pytest

from flan_jax.cli.benchmark_options import asked_bindings
from flan_jax.cli.commands import eval as eval_command
from flan_jax.testing.benchmarks import write_gsm8k, write_mmlu
from flan_jax.testing.folders import chat_model


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    chat_model(folder, max_positions=1024)
    return str(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of data that holds two benchmarks under their usual names."""
    folder = tmp_path_factory.mktemp("data")
    write_mmlu(folder / "mmlu")
    write_gsm8k(folder / "gsm8k")
    return str(folder)


def test_benchmarks_are_listed(cli):
    outcome = cli("eval", "--list_benchmarks")
    assert outcome.code == 0
    for word in ("mmlu_cot", "3 shots", "metric stated_number, last_number", "cot-prompts/TASK.txt", "superni"):
        assert word in outcome.out


def test_two_benchmarks_of_one_folder_are_measured(cli, published, data, tmp_path):
    outcome = cli(
        "eval", "--model_dir", published, "--benchmark", "mmlu,gsm8k", "--benchmark_dir", data, "--limit", "2", "--shots", "1",
        "--max_tokens", "4", "--output_dir", str(tmp_path / "out"),
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "gsm8k_1shot_limit2" in outcome.out
    suites = json.loads((tmp_path / "out" / "eval" / "0" / "results.json").read_text())["suites"]
    assert list(suites) == ["mmlu_1shot_limit2", "gsm8k_1shot_limit2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--benchmark", "mmul"), "Unknown benchmark 'mmul'. Did you mean 'mmlu'"),
        (("--benchmark", "mmlu", "--tasks", "astronmy"), "Unknown task or category of mmlu 'astronmy'. Did you mean 'astronomy'"),
        (("--benchmark", "mmlu", "--shots", "9"), "mmlu_astronomy has 5 solved example(s), but 9 are asked for"),
        (("--benchmark", "bbh"), "BIG-Bench Hard (Suzgun et al. 2022) is looked for in"),
        (("--benchmark", "mmlu", "--limit", "-1"), "--limit -1 must be at least 1"),
        (("--benchmark", "mmlu", "--step", "3"), "is no run, so it has no --step 3"),
        (("--benchmark", "mmlu", "--gin.BATCH_SIZE=3"), "gin configures runs"),
        (("--benchmark", "mmlu,gsm8k", "--exemplars", "a.txt"), "--exemplars 'a.txt' does not say for which benchmark. Write mmlu=FILE"),
        (("--benchmark", "gsm8k", "--exemplars", "a.txt", "--exemplars", "b.txt"), "--exemplars names two files for gsm8k"),
        (("--benchmark", "mmlu", "--max_tokens", "-1"), "--max_tokens -1 must be at least 1"),
        (("--benchmark", "mmlu", "--template_budget", "2"), "--template_budget chooses among those of a mixture's tasks"),
        (("--exemplars", "a.txt"), "--exemplars is read for a published benchmark only"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_told_in_a_sentence(refused, published, data, tmp_path, options, message):
    said = refused("eval", "--model_dir", published, "--benchmark_dir" if "--benchmark" in options else "--gin_file", data, "--output_dir" if "--benchmark" in options else "--gin_search_paths", str(tmp_path / "out"), *options)  # fmt: skip
    assert message in said
    assert not (tmp_path / "out").exists()


def test_a_published_model_needs_a_folder_for_results(refused, published, data):
    said = refused("eval", "--model_dir", published, "--benchmark", "mmlu", "--benchmark_dir", data)
    assert "Name one for them (--output_dir)" in said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ()),
        (("--shots", "0"), ("EvalConfig.shots=0",)),
        (
            ("--template_budget", "2", "--option_orders", "3"),
            ("EvalConfig.template_budget=2", "EvalConfig.option_orders=3"),
        ),
        (
            ("--limit", "20", "--tasks", "ent*,rte", "--templates", "0,3"),
            (
                "EvalConfig.templates=(0, 3)",
                "EvalConfig.max_examples=20",
                "EvalConfig.tasks=('ent*', 'rte')",
                "EvalConfig.label='_limit20'",
            ),
        ),
    ],
)
def test_suites_of_a_mixture_are_asked_as_the_options_say(options, expected):
    parser = argparse.ArgumentParser()
    eval_command.add_arguments(parser)
    assert asked_bindings(parser.parse_args([*options])) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--templates", "one"), "--templates 'one' must be numbers from 0 with commas"),
        (("--benchmark", "mmlu", "--templates", "0"), "--templates chooses among those of a mixture's tasks"),
        (("--limit", "-2"), "--limit -2 must be at least 1"),
        (("--chat",), "--chat is read for a published benchmark only"),
    ],
)
def test_what_no_suite_can_be_asked_is_told(refused, tmp_path, options, message):
    (tmp_path / "config.gin").write_text("")
    assert message in refused("eval", "--model_dir", str(tmp_path), *options)
