"""Train on a mixture and measure its suites. Run again, the same command resumes where it stopped."""

import argparse

from flan_jax.cli.gin_arguments import add_gin_arguments, load_gin
from flan_jax.cli.launching.process_options import add_process_arguments, joined_processes
from flan_jax.cli.paths import given_any_path

EXAMPLE = (
    "flan-jax train --gin_file models/t5_mini.gin --gin_file runs/finetune.gin --gin.MIXTURE_OR_TASK_NAME=mini "
    "--gin.TASK_FEATURE_LENGTHS=\"{'inputs': 64, 'targets': 16}\" --gin.TRAIN_STEPS=100 --gin.MODEL_DIR=runs/first"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_gin_arguments(parser)
    parser.add_argument(
        "--mirror",
        type=given_any_path,
        default=None,
        metavar="ADDRESS",
        help="keep a copy of MODEL_DIR there (s3://…, gs://…, or a folder), and go on from it where it is farther than MODEL_DIR",
    )
    add_process_arguments(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Prepares what is not prepared, trains or resumes, evaluates, reports."""
    from flan_jax.cli.console import run_training
    from flan_jax.cli.run_places import connected, mirrored_run

    run = load_gin(arguments, several=True, addresses=True)
    mirror = connected(run, arguments.mirror)
    with joined_processes(arguments, run.operative) as speaks, mirrored_run(run, mirror):
        return run_training(run, quiet=not speaks)
