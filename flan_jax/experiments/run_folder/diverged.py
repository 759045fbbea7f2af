"""The examples of the batches by which a run diverged, written into its folder."""

import json
from collections.abc import Sequence
from pathlib import Path

import jax

from flan_jax.errors import UserError
from flan_jax.experiments.run_folder import run_files
from flan_jax.feed.batch_stream import BatchStream
from flan_jax.files import atomic_write_text
from flan_jax.train.finite import DivergedError


def with_examples(error: DivergedError, folder: Path, batches: BatchStream) -> DivergedError:
    """Writes the examples of the batches that showed a divergence; returns the error with a sentence that says where.

    Args:
        error: as the loop raised it.
        folder: of the run.
        batches: of the run, at whatever step.
    """
    said = write_examples(folder, batches, range(min(error.bad + 1, error.step), error.step + 1))
    return DivergedError(error.step, error.what, f"{error.kept} {said}".strip(), bad=error.bad)


def write_examples(folder: Path, batches: BatchStream, steps: Sequence[int]) -> str:
    """Writes ``diverged.json``: of each step's global batch the examples, by row, task and number among its prepared ones.

    Returns:
        A sentence that names the file.
    """
    path = folder / run_files.DIVERGED
    if jax.process_index() == 0:
        atomic_write_text(path, json.dumps([_record(batches, step) for step in steps], indent=1) + "\n")
    what = (
        f"the batches of steps {steps[0]:,} to {steps[-1]:,}" if len(steps) > 1 else f"the batch of step {steps[0]:,}"
    )
    return f"The examples of {what} are listed in {path}."


def _record(batches: BatchStream, step: int) -> dict[str, object]:
    try:
        return {"step": step, "examples": [each._asdict() for each in batches.examples(step)]}
    except UserError as error:
        return {"step": step, "examples": [], "unknown": str(error)}
