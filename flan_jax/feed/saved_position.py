"""The JSON of a saved data position: checking it, and the part of a run that it lies in.

Keys stay as they were first written, so that old checkpoints can be read: draws that are carried over are
``owed_*`` there.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from flan_jax.errors import UserError
from flan_jax.feed.sampler import SamplerStart
from flan_jax.feed.sampling_stats import SamplingStats

PART = "part"
"""Key of the part of the run that the position lies in; absent in the first part."""
FIRST_STEP = "first_step"
"""Key of the run's step at which the stream begins; absent for 0."""
UNVERSIONED: Mapping[str, int] = {"packing": 1}
"""The version of packing of positions that were saved before they had one."""

_KEYS = ("step", "row", "window_rows", "window_own")
_STATS = ("expected", "examples", "input_tokens", "target_tokens")
_MEANING = {
    "tasks": "the tasks or what they were prepared from",
    "weights": "the weights or the seed",
    "layout": "the lengths, packing, or what becomes of exhausted tasks",
    "packing": "the way in which flan_jax draws and packs rows",
}


class Part(NamedTuple):
    """The part of a run, on weights of its own, that a position lies in.

    Attributes:
        weights: [tasks] shares of the draws.
        start: state of the draws at its beginning.
        earlier_stats: what was consumed before it.
        step: the run's step at which it began.
    """

    weights: np.ndarray
    start: SamplerStart
    earlier_stats: SamplingStats
    step: int


def checked_position(state: Mapping[str, Any], digests: Mapping[str, int]) -> dict[str, Any]:
    """Completes a saved position and checks that it belongs to a stream.

    Args:
        state: as saved.
        digests: of the stream (``PackedRowIndex.digests``).

    Raises:
        UserError: the position belongs to other tasks, weights, seed or lengths, or is none.
    """
    whole = {**UNVERSIONED, **state}
    missing = sorted({*_KEYS, *digests} - set(whole))
    if missing:
        raise UserError(f"The saved data position has no {', '.join(missing)}; it was not saved by this loader.")
    changed = [name for name, digest in digests.items() if int(whole[name]) != digest]
    if changed:
        what = " and ".join(_MEANING[name] for name in changed)
        raise UserError(
            f"The saved data position cannot be continued: {what} changed since it was saved. "
            "Restore what it was, or start a new run from the checkpoint's parameters."
        )
    return whole


def encode_part(part: Part) -> dict[str, Any]:
    """Encodes a part as JSON values."""
    return {
        "number": part.start.part,
        "began": part.step,
        "weights": part.weights.tolist(),
        "drawn": part.start.drawn.tolist(),
        "owed_task": part.start.carried_over_task.tolist(),
        "owed_number": part.start.carried_over_index.tolist(),
        **{name: getattr(part.earlier_stats, name).tolist() for name in _STATS},
    }


def decode_part(saved: Mapping[str, Any], zeros: SamplingStats) -> Part:
    """Decodes a part; ``zeros`` are the statistics of its tasks before the first draw."""
    stats: dict[str, Any] = {name: np.array(saved[name], getattr(zeros, name).dtype) for name in _STATS}
    start = SamplerStart(
        int(saved["number"]),
        np.array(saved["drawn"], np.int64),
        np.array(saved["owed_task"], np.int32),
        np.array(saved["owed_number"], np.int64),
    )
    return Part(np.array(saved["weights"]), start, dataclasses.replace(zeros, **stats), int(saved["began"]))
