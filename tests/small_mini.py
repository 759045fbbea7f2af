"""The embedded world of ``mini`` with few records: preparing all 150,000 of them takes longer than most tests."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence

import pytest

from flan_jax.data.prepare import workers
from flan_jax.tasks.spec import Record
from mixtures.mini import world

MOST = (48, 16, 16)
"""Records of train, validation and test that are drawn of each task."""


@contextlib.contextmanager
def small_mini() -> Iterator[None]:
    """Draws the first records of every split alone. What is prepared meanwhile belongs into a store of its own."""
    all_splits = world._all_splits

    def first(maker: world.Maker) -> dict[str, Sequence[Record]]:
        few = tuple(min(size, most) for size, most in zip(maker.sizes, MOST, strict=True))
        return all_splits(dataclasses.replace(maker, sizes=few))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "_all_splits", first)
        # Other processes, which a slow machine would start for it, know nothing of this.
        patch.setattr(workers, "PATIENCE_S", math.inf)
        yield
