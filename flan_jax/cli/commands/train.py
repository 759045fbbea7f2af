"""Train on a mixture and measure its suites. Run again, the same command resumes where it stopped."""

import argparse

from flan_jax.cli.gin_arguments import add_gin_arguments, load_gin
from flan_jax.cli.launching.process_options import add_process_arguments, joined_processes

EXAMPLE = (
    "flan-jax train --gin_file models/t5_mini.gin --gin_file runs/finetune.gin --gin.MIXTURE_OR_TASK_NAME=mini "
    "--gin.TASK_FEATURE_LENGTHS=\"{'inputs': 64, 'targets': 16}\" --gin.TRAIN_STEPS=100 --gin.MODEL_DIR=runs/first"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_gin_arguments(parser)
    add_process_arguments(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Prepares what is not prepared, trains or resumes, evaluates, reports."""
    from flan_jax.cli.console import run_training

    run = load_gin(arguments, several=True)
    with joined_processes(arguments, run.operative) as speaks:
        return run_training(run, quiet=not speaks)
