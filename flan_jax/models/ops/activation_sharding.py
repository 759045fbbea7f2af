"""Placement on devices: models say at which places rows come first, training says how rows are split.

Without a word from training, XLA's partitioner decides by the parameters alone, and may split the width of the residual
stream in the place of its rows: every device then computes all rows of each layer.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any, Protocol

import jax


class RowPlacement(Protocol):
    """Split of a batch's rows, and of what layers compute with, over devices; training's ``Partitioner`` is one.

    It is hashable: programs are made for one.
    """

    @property
    def batch_parts(self) -> int:
        """Parts that the rows are split into."""

    def place_rows(self, x: Any) -> Any:
        """Says that an array ``[rows, ...]`` is split by its rows alone, where they can be split."""

    def gather_kernel(self, x: Any, axes: tuple[str | None, str | None]) -> Any:
        """Says that a layer's kernel of these logical axes is whole on each part of the batch, split as layers are alone."""


_PLACEMENT: contextvars.ContextVar[RowPlacement | None] = contextvars.ContextVar("row_placement", default=None)


@contextlib.contextmanager
def rows_placed(placement: RowPlacement | None) -> Iterator[None]:
    """Places the activations of models that are traced inside; ``None`` leaves them to the compiler."""
    token = _PLACEMENT.set(placement)
    try:
        yield
    finally:
        _PLACEMENT.reset(token)


def current_placement() -> RowPlacement | None:
    """Returns the placement of what is being traced; ``None`` where it is left to the compiler."""
    return _PLACEMENT.get()


def place_rows(x: Any) -> Any:
    """Says of every array ``[rows, length, width]`` of a pytree how it lies on the devices; the values stay."""
    placement = _PLACEMENT.get()
    return (
        x if placement is None else jax.tree.map(lambda leaf: placement.place_rows(leaf) if leaf.ndim == 3 else leaf, x)
    )


def row_groups(rows: int) -> int:
    """Returns the parts that so many rows are split into; 1 where they are not."""
    placement = _PLACEMENT.get()
    return 1 if placement is None or rows % placement.batch_parts else placement.batch_parts
