"""Train on a mixture and measure its suites. Run again, the same command resumes where it stopped."""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

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

    run = load_gin(arguments, several=True)
    with joined_processes(arguments, run.operative) as speaks, _mirrored(arguments.mirror, run.config.model_dir):
        return run_training(run, quiet=not speaks)


@contextlib.contextmanager
def _mirrored(address: str | None, model_dir: str) -> Iterator[None]:
    """Brings MODEL_DIR to where its copy is, and keeps the copy up to date inside: the first process does, for all."""
    if not address:
        yield
        return
    import jax

    from flan_jax.cli.console import log
    from flan_jax.experiments.run_folder.mirror import RunMirror
    from flan_jax.experiments.run_folder.mirroring import mirrored
    from flan_jax.launch.distributed import first_alone

    mirror = RunMirror(address, Path(model_dir), log)
    first = jax.process_index() == 0
    first_alone(mirror.restore if first else lambda: None)
    with mirrored(mirror, log) if first else contextlib.nullcontext():
        yield
    first_alone(lambda: None)  # the others wait for the last upload before JAX parts them
