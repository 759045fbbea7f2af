"""Measure several models on the same prompts and print how they differ, with paired intervals and tests.

Each model is a run's folder or a model of Hugging Face's; MODEL@STEP is a checkpoint, and RUN@0 what a run began with. The
others are compared with the first.
"""

import argparse
import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flan_jax.cli.benchmark_options import (
    add_asking_options,
    add_benchmark_options,
    asked_bindings,
    check_unread,
    limits_of,
    requests_of,
)
from flan_jax.cli.escapes import json_text, visible
from flan_jax.cli.gin_arguments import add_gin_arguments, load_gin
from flan_jax.cli.paths import any_path, given_any_path
from flan_jax.cli.run_places import run_folder
from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.eval.examples import TaskResult
    from flan_jax.eval.paired_runs import Measured
    from flan_jax.eval.statistics.paired import PairedComparison, PairedDifference
    from flan_jax.experiments.compare import ComparedModel
    from flan_jax.experiments.config import RunConfig

EXAMPLE = (
    "flan-jax compare runs/tuned@0 runs/tuned   or   flan-jax compare smollm2 runs/lora --of runs/lora "
    "--gin.EvalConfig.max_examples=200   or   flan-jax compare smollm2 runs/lora --benchmark mmlu --benchmark_dir data/mmlu"
)
_AT_STEP = re.compile(r"(?P<place>.+)@(?P<step>\d+)")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "models", nargs="+", type=given_any_path, metavar="MODEL[@STEP]", help="at least two; the first is the baseline"
    )
    parser.add_argument(
        "--of",
        type=any_path,
        default="",
        metavar="MODEL_DIR",
        help="the run whose suites, templates and lengths all are asked; default: the first run among the models, or what "
        "gin files describe",
    )
    add_asking_options(parser)
    parser.add_argument(
        "--swapped",
        choices=("example", "task", "cluster"),
        default="example",
        help="what the test of a suite's average takes for independent (default: examples)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    add_benchmark_options(parser)
    add_gin_arguments(parser, required=False)


def execute(arguments: argparse.Namespace) -> int:
    """Measures what was not measured yet, and prints a table for each suite."""
    if len(arguments.models) < 2:
        raise UserError("One model is compared with nothing. Name at least two.")
    check_unread(arguments, read=("output_dir",))
    models = _models(arguments.models)
    places = _measure(arguments, models)
    names = [model.name for model in models]
    print(_json(places, names, arguments) if arguments.json else _tables(places, names, arguments))
    return 0


Places = dict[str, "tuple[Measured, tuple[str, ...]]"]


def _measure(arguments: argparse.Namespace, models: "Sequence[ComparedModel]") -> Places:
    output = arguments.output_dir or "compare"
    from flan_jax.cli.console import eval_progress, log, prepare_progress

    if arguments.benchmark:
        return _measure_benchmarks(arguments, models, output)
    from flan_jax.experiments.compare import measure_models

    return measure_models(
        _asking(arguments), models, output, prepare_progress=prepare_progress(), progress=eval_progress(), log=log
    )


def _measure_benchmarks(arguments: argparse.Namespace, models: "Sequence[ComparedModel]", output: str) -> Places:
    from flan_jax.cli.console import eval_progress, is_huggingface, log
    from flan_jax.eval.paired_runs import Measured
    from flan_jax.experiments.compare import check_steps
    from flan_jax.experiments.suites.benchmarks import evaluate_benchmarks

    places: Places = {}
    # One seed for all, as what is drawn must be the same.
    requests = requests_of(arguments, arguments.seed or 0)
    check_steps(models)
    for model in models:
        log(f"{model.name}: measuring {', '.join(request.suite for request in requests)}")
        folder = Path(output) / model.name
        results = evaluate_benchmarks(
            model.config,
            requests,
            output_dir=str(folder),
            step=model.step,
            published=is_huggingface(model.config.model_dir),
            limits=limits_of(arguments),
            progress=eval_progress(),
            log=log,
        )
        places[model.name] = (Measured(folder, results.step), tuple(request.suite for request in requests))
    return places


def _models(given: Sequence[str]) -> "list[ComparedModel]":
    """Reads what MODEL[@STEP] names, under names that tell them apart."""
    from flan_jax.experiments.compare import ComparedModel

    parts = [_place_and_step(text) for text in given]
    names = [_name(place, step, parents=0) for place, step in parts]
    if len(set(names)) < len(names):
        names = [_name(place, step, parents=1) for place, step in parts]
    for name, text in zip(names, given, strict=True):
        if names.count(name) > 1:
            raise UserError(f"{text!r} is named twice, or two models are called {name!r}. Name each once.")
    return [ComparedModel(name, _config(place, step), step) for name, (place, step) in zip(names, parts, strict=True)]


def _place_and_step(text: str) -> tuple[str, int | None]:
    match = _AT_STEP.fullmatch(text)
    # A folder may be called so.
    return (match["place"], int(match["step"])) if match and not Path(text).exists() else (text, None)


def _name(place: str, step: int | None, *, parents: int) -> str:
    parts = Path(place.removeprefix("hf:")).parts if place.startswith("hf:") else Path(os.path.abspath(place)).parts
    return "_".join(parts[-1 - parents :]) + ("" if step is None else f"@{step}")


def _config(place: str, step: int | None) -> "RunConfig":
    from flan_jax.cli import gin_config
    from flan_jax.cli.console import check_run_folder, is_huggingface, log_not_imported, modules_named
    from flan_jax.experiments.weights.pretrained import run_of_folder

    if is_huggingface(place):
        if step is not None:
            raise UserError(
                f"{place!r} is a model of Hugging Face's and no run, so it has no step {step}. Leave it out."
            )
        return run_of_folder(place)
    place = run_folder(place, step=step)
    check_run_folder(place)
    with modules_named(place):
        run = gin_config.load([], [f"run.model_dir={place!r}"], folder=place)
    log_not_imported(run)
    return run.config


def _asking(arguments: argparse.Namespace) -> "RunConfig":
    """The run whose suites all models are asked."""
    from flan_jax.cli.console import check_run_folder, is_huggingface, log_not_imported, modules_named

    runs = [place for place, _ in map(_place_and_step, arguments.models) if not is_huggingface(place)]
    folder = arguments.of or ("" if arguments.gin_file else next(iter(runs), ""))
    if not folder and not arguments.gin_file:
        raise UserError(
            "None of the models is a run, so nobody says what they are asked. Name a run whose suites all are asked "
            "(--of MODEL_DIR), gin files that describe one, or a published benchmark (--benchmark)."
        )
    if folder:
        folder = run_folder(folder, weights=False)
        check_run_folder(folder)
    place = (f"run.model_dir={folder!r}",) if folder else ()
    with modules_named(folder):
        run = load_gin(arguments, extra=(*asked_bindings(arguments, label=False), *place), folder=folder)
    log_not_imported(run)
    return run.config


def _comparisons(places: Places, names: Sequence[str], arguments: argparse.Namespace) -> "dict[str, list[Found]]":
    """Suite → each model but the first, compared with the first."""
    from flan_jax.eval.paired_runs import compare_runs

    base, suites = places[names[0]]
    return {
        suite: [(name, *compare_runs(base, places[name][0], suite, swapped=arguments.swapped)) for name in names[1:]]
        for suite in suites
    }


Found = tuple[str, "PairedComparison", list[str]]
"""Model, its comparison with the first, and notes."""


def _json(places: Places, names: Sequence[str], arguments: argparse.Namespace) -> str:
    found = _comparisons(places, names, arguments)
    described: dict[str, Any] = {
        "baseline": names[0],
        "results": {name: {"folder": str(place.folder), "step": place.step} for name, (place, _) in places.items()},
        "suites": {
            suite: {name: {**dataclasses.asdict(own), "notes": notes} for name, own, notes in compared}
            for suite, compared in found.items()
        },
    }
    return json_text(described, indent=1)


def _tables(places: Places, names: Sequence[str], arguments: argparse.Namespace) -> str:
    from flan_jax.report.tables import text_table

    parts = []
    for suite, compared in _comparisons(places, names, arguments).items():
        columns = ["", "n", "chance", "majority", names[0]]
        for name, _, _ in compared:
            columns += [name, "difference", "95% interval", "p", "won/tied/lost"]
        first, results = compared[0][1], _results(places[names[0]][0], suite)
        measured = [results[task.name] for task in first.tasks]
        rows = [_row("all", [own.average for _, own, _ in compared], measured)]
        for at, cluster in enumerate(first.clusters):
            inside = [place for place, result in enumerate(measured) if result.cluster == cluster.name]
            rows.append(
                _row(
                    f"  {cluster.name}",
                    [own.clusters[at] for _, own, _ in compared],
                    [measured[place] for place in inside],
                )
            )
            rows += [
                _row(f"    {measured[place].name}", [own.tasks[place] for _, own, _ in compared], [measured[place]])
                for place in inside
            ]
        swapped = {"example": "examples", "task": "tasks", "cluster": "clusters"}[arguments.swapped]
        parts.append(f"Suite {suite}, {first.average.tasks} tasks: per cent; differences are to {names[0]}\n")
        parts.append(text_table(columns, rows))
        parts.append(
            f"\np: sign-flip test over {swapped} (of all), over examples with Holm's correction (of clusters, of tasks)."
        )
        parts += [f"note: {note}" for note in dict.fromkeys(note for _, _, notes in compared for note in notes)]
        parts.append("")
    parts.append(f"Results: {', '.join(str(place.folder) for place, _ in places.values())}")
    return visible("\n".join(parts))


def _results(place: "Measured", suite: str) -> "dict[str, TaskResult]":
    """Task → its result."""
    from flan_jax.eval.results import read_results

    return {result.name: result for result in read_results(place.folder, place.step).suites[suite]}


def _row(label: str, found: "Sequence[PairedDifference]", tasks: "Sequence[TaskResult]") -> list[str]:
    """Formats what is known of some tasks; chance and majority are means over them, as the scores are."""
    yardsticks = [[task.chance for task in tasks], [task.majority for task in tasks]]
    cells = [label, f"{found[0].n:,}", *(f"{100 * sum(own) / len(own):.1f}" for own in yardsticks)]
    cells.append(f"{100 * found[0].first:.1f}")
    for own in found:
        low, high = own.interval
        cells += [
            f"{100 * own.second:.1f}",
            f"{100 * own.difference:+.1f}",
            f"[{100 * low:+.1f}, {100 * high:+.1f}]",
            f"{own.p_holm:.3f}",
            f"{own.wins}/{own.ties}/{own.losses}",
        ]
    return cells
