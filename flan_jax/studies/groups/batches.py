"""Batches of a group: those of its runs, stacked on a leading axis."""

from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np

from flan_jax.feed.batch_stream import BatchStream
from flan_jax.feed.layout import Batch


class GroupBatches:
    """Iterates over batches ``[R, B, T]``, row by row what each run's own stream gives.

    Each stream makes its batches ahead in a thread of its own. A row of a run that is over is left empty: it has no loss
    token. The iteration ends when no run is left.

    Args:
        streams: of the runs.
        rows: R, at least one a run.
        is_over: the runs that take no more steps, asked before each batch.
        on_end: told of a run whose data have ended.
    """

    def __init__(
        self,
        streams: Sequence[BatchStream],
        rows: int,
        is_over: Callable[[], Container[int]],
        on_end: Callable[[int], None],
    ) -> None:
        self._streams, self._rows, self._is_over, self._on_end = streams, rows, is_over, on_end
        self._ended: set[int] = set()

    def __iter__(self) -> "GroupBatches":
        return self

    def __next__(self) -> Batch:
        over, parts = self._is_over(), {}
        for run, stream in enumerate(self._streams):
            if run in over or run in self._ended:
                continue
            batch = next(stream, None)
            if batch is None:
                self._ended.add(run)
                self._on_end(run)
            else:
                parts[run] = batch
        if not parts:
            raise StopIteration
        like = next(iter(parts.values()))
        stacked = {name: np.zeros((self._rows, *values.shape), values.dtype) for name, values in like.items()}
        for run, batch in parts.items():
            for name, values in batch.items():
                stacked[name][run] = values
        return stacked

    def get_state(self) -> dict[str, Any]:
        """Returns the position of every run's stream, as JSON values."""
        return {"runs": [stream.get_state() for stream in self._streams]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores the position of ``get_state``.

        Raises:
            UserError: a position belongs to other tasks, weights, seed or lengths.
        """
        for stream, own in zip(self._streams, state["runs"], strict=True):
            stream.set_state(own)

    def close(self) -> None:
        """Stops making batches ahead."""
        for stream in self._streams:
            stream.close()
