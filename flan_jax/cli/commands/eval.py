"""Measure a checkpoint on the suites of a mixture: rank classification and generation, with intervals."""

import argparse

from flan_jax.cli.commands._gin_arguments import add_gin_arguments, load_gin

EXAMPLE = (
    "flan-jax eval --model_dir runs/first   or   flan-jax eval --gin_file models/t5_mini.gin --gin_file runs/eval.gin "
    "--gin.CHECKPOINT_PATH=runs/first --gin.EVAL_OUTPUT_DIR=runs/first_eval --gin.MIXTURE_OR_TASK_NAME=mini "
    "--gin.TASK_FEATURE_LENGTHS=\"{'inputs': 64, 'targets': 16}\""
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "--model_dir", default="", help="a run's folder: its own configuration and its newest checkpoint"
    )
    parser.add_argument("--step", type=int, default=None, help="the checkpoint of this step; default: the newest")
    add_gin_arguments(parser, required=False)


def execute(arguments: argparse.Namespace) -> int:
    """Evaluates and prints the table."""
    from flan_jax.cli.console import eval_progress, run_config_file, say, show_results
    from flan_jax.experiments.evaluate import evaluate_run

    files: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    if arguments.model_dir:
        # The folder may have been moved since the run wrote its configuration.
        files, extra = (run_config_file(arguments.model_dir),), (f"run.model_dir={str(arguments.model_dir)!r}",)
    run = load_gin(arguments, default_files=files, extra=extra)
    evaluate_run(run.config, step=arguments.step, operative=run.operative, progress=eval_progress(), say=say)
    show_results(run.config.model_dir)
    return 0
