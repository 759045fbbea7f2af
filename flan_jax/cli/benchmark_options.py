"""The options of ``flan-jax eval`` that choose published benchmarks, and how much of what is measured."""

import argparse
from typing import TYPE_CHECKING

from flan_jax.cli.paths import local_path, name_or_path
from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.experiments.suites.benchmark_suite import BenchmarkRequest
    from flan_jax.experiments.suites.benchmarks import AnswerLimits

_OF_BENCHMARKS = (
    "benchmark_dir",
    "exemplars",
    "shot_order",
    "max_tokens",
    "input_length",
    "batch_size",
    "output_dir",
    "seed",
    "chat",
)
"""Options that only benchmarks read."""


def add_asking_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that hold for the suites of a mixture and for benchmarks alike."""
    parser.add_argument("--shots", type=int, default=None, metavar="K", help="solved examples before each question")
    parser.add_argument(
        "--tasks",
        default="",
        metavar="PATTERN,…",
        help="only tasks and categories of these names; * stands for any letters",
    )
    parser.add_argument(
        "--templates", default="", metavar="I,J,…", help="of a mixture's tasks, only these templates, counted from 0"
    )
    parser.add_argument(
        "--template_budget",
        type=int,
        default=None,
        metavar="N",
        help="of a mixture's tasks, ask each example under N templates (2 estimates the spread over all of them)",
    )
    parser.add_argument(
        "--option_orders",
        type=int,
        default=1,
        metavar="R",
        help="ask with the listed options in R orders, and report the spread; of benchmarks, mmlu can",
    )
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="the first N examples of each task")


def add_benchmark_options(parser: argparse.ArgumentParser) -> None:
    """Adds them."""
    group = parser.add_argument_group("published benchmarks, in the place of the mixture's suites")
    group.add_argument(
        "--benchmark",
        action="append",
        default=[],
        metavar="NAME",
        help="measure this one: mmlu, mmlu_cot, bbh, bbh_cot, gsm8k; repeatable, or with commas",
    )
    group.add_argument("--list_benchmarks", action="store_true", help="say what there is, and which files it reads")
    group.add_argument(
        "--benchmark_dir",
        type=local_path,
        default="",
        metavar="FOLDER",
        help="with the published files, or with a folder of them for each benchmark; default: the data folder",
    )
    group.add_argument(
        "--exemplars",
        type=name_or_path,
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help="solved examples that are no part of the published files; NAME= where there are several benchmarks",
    )
    group.add_argument(
        "--shot_order",
        choices=("published", "drawn"),
        default=None,
        help="the first of the solved examples, or drawn by (seed, task, example); default: the benchmark's own way",
    )
    group.add_argument("--max_tokens", type=int, default=0, help="longest answer; default: the benchmark's")
    group.add_argument(
        "--input_length",
        type=int,
        default=0,
        metavar="TOKENS",
        help="longest prompt; solved examples that do not fit are left out; default: the run's, or what the model reads",
    )
    group.add_argument("--batch_size", type=int, default=0, help="questions at a time; default: the run's, or 64")
    group.add_argument(
        "--output_dir",
        type=local_path,
        default="",
        metavar="FOLDER",
        help="where results go; default: the run's folder. A model of Hugging Face's needs it",
    )
    group.add_argument(
        "--chat",
        action="store_true",
        help="of a model of Hugging Face's: a prompt is a user's turn in the chat template of its folder; a run has its own",
    )
    group.add_argument("--seed", type=int, default=None, help="of what is drawn; default: the run's")


def check_unread(arguments: argparse.Namespace, *, read: tuple[str, ...] = ()) -> None:
    """Refuses options of benchmarks where none is measured, and of mixtures where one is.

    Args:
        arguments: of the command line.
        read: options that this command reads in any case.

    Raises:
        UserError: names the first, or a limit below 0.
    """
    if arguments.limit < 0:
        raise UserError(f"--limit {arguments.limit} must be at least 1.")
    if arguments.benchmark:
        for name in ("templates", "template_budget"):
            if getattr(arguments, name):
                raise UserError(
                    f"--{name} chooses among those of a mixture's tasks, and a published benchmark has one prompt. Leave it out."
                )
        return
    given = [name for name in _OF_BENCHMARKS if name not in read and getattr(arguments, name) not in ("", 0, None, [])]
    if given:
        raise UserError(
            f"--{given[0]} is read for a published benchmark only, and none is named. Name one (--benchmark)."
        )


def asked_bindings(arguments: argparse.Namespace, *, label: bool = True) -> tuple[str, ...]:
    """Returns bindings that ask the suites of a mixture as the options say, with a label for the names of their results.

    Args:
        arguments: of the command line.
        label: name results by the limit; where they have a folder to themselves nothing else is there to mix them up with.

    Raises:
        UserError: a template that is no number.
    """
    from flan_jax.experiments.options import parse_names

    given = parse_names(arguments.templates, "--templates")
    if not all(text.isdecimal() for text in given):
        raise UserError(f"--templates {arguments.templates!r} must be numbers from 0 with commas: 0,3.")
    templates = tuple(map(int, given))
    chosen = {
        "shots": arguments.shots,
        "templates": templates or None,
        "template_budget": arguments.template_budget,
        "option_orders": arguments.option_orders if arguments.option_orders != 1 else None,
        "max_examples": arguments.limit or None,
        "tasks": parse_names(arguments.tasks, "--tasks") or None,
        "label": f"_limit{arguments.limit}" if arguments.limit and label else None,
    }
    return tuple(f"EvalConfig.{name}={value!r}" for name, value in chosen.items() if value is not None)


def requests_of(arguments: argparse.Namespace, seed: int) -> list["BenchmarkRequest"]:
    """Makes what is asked for of each benchmark.

    Raises:
        UserError: an unknown benchmark, a number out of range, or a file of solved examples that is nobody's.
    """
    from flan_jax.data.benchmarks.registry import BENCHMARKS
    from flan_jax.experiments.options import parse_names
    from flan_jax.experiments.suites.benchmark_suite import BenchmarkRequest

    names = parse_names(",".join(arguments.benchmark), "--benchmark")
    for name in names:
        BENCHMARKS.get(name)
    exemplars = _exemplars(arguments.exemplars, names)
    return [
        BenchmarkRequest(
            name,
            arguments.benchmark_dir,
            shots=arguments.shots,
            shot_order=arguments.shot_order,
            exemplars=exemplars.get(name, ""),
            tasks=parse_names(arguments.tasks, "--tasks"),
            limit=arguments.limit,
            option_orders=arguments.option_orders,
            seed=seed if arguments.seed is None else arguments.seed,
            chat=arguments.chat,
        )
        for name in names
    ]


def _exemplars(given: list[str], names: tuple[str, ...]) -> dict[str, str]:
    """Benchmark → its file of solved examples."""
    files: dict[str, str] = {}
    for text in given:
        name, mark, path = text.partition("=")
        if not mark or name not in names:
            name, path = names[0], text
            if len(names) > 1:
                raise UserError(
                    f"--exemplars {text!r} does not say for which benchmark. Write {names[0]}=FILE, or name one of them."
                )
        if name in files:
            raise UserError(f"--exemplars names two files for {name}. Name one.")
        files[name] = path
    return files


def limits_of(arguments: argparse.Namespace) -> "AnswerLimits":
    """Makes the limits of tokens and batches.

    Raises:
        UserError: one is below 0.
    """
    from flan_jax.experiments.suites.benchmarks import AnswerLimits

    for name in ("max_tokens", "input_length", "batch_size"):
        if getattr(arguments, name) < 0:
            raise UserError(f"--{name} {getattr(arguments, name)} must be at least 1.")
    return AnswerLimits(arguments.max_tokens, arguments.input_length, arguments.batch_size)


def benchmark_table() -> str:
    """Lists the benchmarks: settings, whose prompt it is, and the files that are read."""
    from flan_jax.data.benchmarks.registry import BENCHMARKS

    lines = []
    for name in BENCHMARKS:
        found = BENCHMARKS.get(name)
        how = "the likeliest option" if found.predict == "rank" else f"generated, up to {found.answer_tokens} tokens"
        lines += [
            f"{name:<9} {found.title}",
            f"          {found.shots} shots: {found.exemplars_from}",
            f"          answer: {how}; metric {found.metric}{''.join(f', {other}' for other in found.other_metrics)}",
            f"          prompt (version {found.version}): {found.follows}",
            f"          files: {found.files}",
        ]
    lines.append(
        "\nSuites of mixtures are measured without --benchmark: FLAN's held-out clusters (flan2021_holdout_CLUSTER), T0's "
        "held-out tasks\n(t0_eval), the test tasks of Super-NaturalInstructions (superni), and those of any mixture of yours."
    )
    return "\n".join(lines)
