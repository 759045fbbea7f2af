"""Measure a checkpoint on the suites of a mixture, or on published benchmarks: ranking and generation, with intervals."""

import argparse
import contextlib
from typing import TYPE_CHECKING

from flan_jax.cli.benchmark_options import (
    add_asking_options,
    add_benchmark_options,
    asked_bindings,
    benchmark_table,
    check_unread,
    limits_of,
    requests_of,
)
from flan_jax.cli.gin_arguments import add_gin_arguments, load_gin
from flan_jax.cli.paths import any_path
from flan_jax.errors import UserError

if TYPE_CHECKING:
    from flan_jax.eval.suites import StepResults

EXAMPLE = (
    "flan-jax eval --model_dir runs/first   or   flan-jax eval --model_dir runs/first --benchmark mmlu "
    "--benchmark_dir data/mmlu --tasks '*biology' --limit 20   or   flan-jax eval --gin_file models/t5_mini.gin "
    "--gin_file runs/eval.gin --gin.CHECKPOINT_PATH=runs/first --gin.EVAL_OUTPUT_DIR=runs/first_eval "
    "--gin.MIXTURE_OR_TASK_NAME=mini --gin.TASK_FEATURE_LENGTHS=\"{'inputs': 64, 'targets': 16}\""
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "--model_dir",
        type=any_path,
        default="",
        help="a run's folder or address: its own configuration and its newest checkpoint; for --benchmark also a model of Hugging "
        "Face's: its folder, or hf:OWNER/NAME of the hub",
    )
    parser.add_argument("--step", type=int, default=None, help="the checkpoint of this step; default: the newest")
    add_asking_options(parser)
    add_benchmark_options(parser)
    add_gin_arguments(parser, required=False)


def execute(arguments: argparse.Namespace) -> int:
    """Evaluates and prints the table."""
    from flan_jax.cli.console import check_run_folder, is_huggingface
    from flan_jax.cli.run_places import measured_run

    if arguments.list_benchmarks:
        print(benchmark_table())
        return 0
    check_unread(arguments)
    if arguments.benchmark and arguments.model_dir and is_huggingface(arguments.model_dir):
        return _published_model(arguments)
    with measured_run(arguments.model_dir, step=arguments.step, returned=not arguments.output_dir) as folder:
        if folder:
            check_run_folder(folder)
        return _run(arguments, folder)


def _run(arguments: argparse.Namespace, folder: str) -> int:
    """Measures the run in a folder, or one that gin files describe."""
    from flan_jax.cli.console import eval_progress, log, log_not_imported, modules_named, show_results
    from flan_jax.cli.run_places import connected, mirrored_run
    from flan_jax.experiments.evaluate import evaluate_run
    from flan_jax.experiments.run_folder.address_files import shown_address
    from flan_jax.experiments.run_folder.staging import is_address
    from flan_jax.experiments.suites.benchmarks import evaluate_benchmarks

    extra: tuple[str, ...] = () if arguments.benchmark else asked_bindings(arguments)
    if folder:
        # The folder may have been moved since the run wrote its configuration.
        extra = (*extra, f"run.model_dir={folder!r}")
    with contextlib.ExitStack() as stack:
        stack.enter_context(modules_named(folder))
        run = load_gin(arguments, extra=extra, folder=folder, addresses=True)
        log_not_imported(run)
        if not (arguments.benchmark and arguments.output_dir):
            stack.enter_context(mirrored_run(run, connected(run)))
        if arguments.benchmark:
            if arguments.chat:
                raise UserError(
                    f"--chat puts the prompts of a model of Hugging Face's into its chat template, and {arguments.model_dir!r} "
                    "is a run, which reads them as it was trained (run.chat_template). Leave it out."
                )
            results = evaluate_benchmarks(
                run.config,
                requests_of(arguments, run.config.seed),
                output_dir=arguments.output_dir,
                step=arguments.step,
                limits=limits_of(arguments),
                progress=eval_progress(),
                log=log,
            )
        else:
            results = evaluate_run(
                run.config, step=arguments.step, operative=run.operative, progress=eval_progress(), log=log
            )
    place = run.address or arguments.model_dir
    at_address = is_address(place) and not arguments.output_dir
    show_results(arguments.output_dir or run.config.model_dir, shown_address(place) if at_address else "")
    return _exit_code(results)


def _exit_code(results: "StepResults") -> int:
    """Names the tasks that could not be measured: 0 where there are none, 2 where the input of each is wrong, else 1."""
    from flan_jax.cli.console import log
    from flan_jax.cli.main import DONE, OUR_FAULT, WRONG_INPUT

    if not results.failed:
        return DONE
    measured = {result.name for members in results.suites.values() for result in members}
    log(
        f"{len(results.failed)} of {len(results.failed) + len(measured)} tasks could not be measured: "
        f"{', '.join(results.failed)}. No average counts them; results.json says why."
    )
    return WRONG_INPUT if set(results.failed) <= set(results.refused) else OUR_FAULT


def _published_model(arguments: argparse.Namespace) -> int:
    """Measures a model of Hugging Face's on benchmarks."""
    from flan_jax.cli.console import eval_progress, log, show_results
    from flan_jax.experiments.suites.benchmarks import evaluate_benchmarks
    from flan_jax.experiments.weights.pretrained import run_of_folder

    if arguments.step is not None:
        raise UserError(f"{arguments.model_dir!r} is no run, so it has no --step {arguments.step}. Leave it out.")
    if arguments.gin_file or arguments.gin_bindings:
        raise UserError(
            f"{arguments.model_dir!r} is a model of Hugging Face's, measured on benchmarks as it is: gin configures runs. "
            "Leave --gin_file and --gin.NAME out."
        )
    if not arguments.output_dir:
        raise UserError(
            f"{arguments.model_dir!r} is a model of Hugging Face's and no run, whose folder would take results. Name one "
            "for them (--output_dir)."
        )
    requests = requests_of(arguments, 0)
    results = evaluate_benchmarks(
        run_of_folder(arguments.model_dir),
        requests,
        output_dir=arguments.output_dir,
        published=True,
        limits=limits_of(arguments),
        progress=eval_progress(),
        log=log,
    )
    show_results(arguments.output_dir)
    return _exit_code(results)
