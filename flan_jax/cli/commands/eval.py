"""Measure a checkpoint on the suites of a mixture: rank classification and generation, with intervals."""

import argparse

from flan_jax.cli.commands._gin_arguments import add_gin_arguments, load_gin
from flan_jax.cli.paths import local_path

EXAMPLE = (
    "flan-jax eval --model_dir runs/first   or   flan-jax eval --gin_file models/t5_mini.gin --gin_file runs/eval.gin "
    "--gin.CHECKPOINT_PATH=runs/first --gin.EVAL_OUTPUT_DIR=runs/first_eval --gin.MIXTURE_OR_TASK_NAME=mini "
    "--gin.TASK_FEATURE_LENGTHS=\"{'inputs': 64, 'targets': 16}\""
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "--model_dir",
        type=local_path,
        default="",
        help="a run's folder: its own configuration and its newest checkpoint",
    )
    parser.add_argument("--step", type=int, default=None, help="the checkpoint of this step; default: the newest")
    add_gin_arguments(parser, required=False)


def execute(arguments: argparse.Namespace) -> int:
    """Evaluates and prints the table."""
    from flan_jax.cli.console import check_run_folder, eval_progress, log, log_not_imported, modules_named, show_results
    from flan_jax.experiments.evaluate import evaluate_run

    extra: tuple[str, ...] = ()
    if arguments.model_dir:
        check_run_folder(arguments.model_dir)
        # The folder may have been moved since the run wrote its configuration.
        extra = (f"run.model_dir={str(arguments.model_dir)!r}",)
    with modules_named(arguments.model_dir):
        run = load_gin(arguments, extra=extra, folder=arguments.model_dir)
        log_not_imported(run)
        evaluate_run(run.config, step=arguments.step, operative=run.operative, progress=eval_progress(), log=log)
    show_results(run.config.model_dir)
    return 0
