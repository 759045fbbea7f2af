"""Batches as a grain ``IterDataset``, assembled in whatever thread or process grain iterates in."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import grain
import numpy as np
from absl import flags

from flan_jax.feed.config import FeedConfig
from flan_jax.feed.layout import Batch, RowLayout
from flan_jax.feed.packed_row_index import PackedRowIndex
from flan_jax.feed.sampler import SamplerStart
from flan_jax.store.store import StoredTask


class CountedBatch(NamedTuple):
    """One batch and its counts by task.

    Attributes:
        batch: this host's rows.
        counts: [3, tasks] int64, of the global batch: examples, input tokens, target tokens.
    """

    batch: Batch
    counts: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class StreamConfig:
    """Everything that determines the rows of a stream. It is pickled to worker processes; the index is not.

    Attributes:
        tasks: prepared tasks.
        weights: [tasks] shares of the draws.
        seed: another seed gives another order.
        layout: lengths and packing of a row.
        feed: how examples become batches, and what becomes of a task that was gone through.
        start: state at the beginning of this part of the run; ``None`` for the run's beginning.
    """

    tasks: tuple[StoredTask, ...]
    weights: np.ndarray
    seed: int
    layout: RowLayout
    feed: FeedConfig
    start: SamplerStart | None = None

    def row_index(self, earlier: PackedRowIndex | None = None) -> PackedRowIndex:
        """Builds the index of rows, from ``earlier`` where one of the same tasks and layout exists already."""
        return PackedRowIndex(
            self.tasks,
            self.weights,
            seed=self.seed,
            layout=self.layout,
            exhausted=self.feed.exhausted,
            epochs=self.feed.max_epochs,
            start=self.start,
            earlier=earlier,
        )


class _BatchIterator(grain.DatasetIterator[CountedBatch]):
    """Assembles every ``stride``-th batch from a row on."""

    def __init__(
        self, row_index: PackedRowIndex, row: int, batch_size: int, host_rows: tuple[int, int], stride: int
    ) -> None:
        super().__init__()
        self._row_index = row_index
        self._row = row
        self._batch_size = batch_size
        self._host_rows = host_rows
        self._stride = stride

    def __next__(self) -> CountedBatch:
        row_index = self._row_index
        plan, rows = row_index.plan(self._row, self._batch_size)
        if not rows:
            raise StopIteration
        self._row += self._stride * self._batch_size
        first, last = self._host_rows
        local = plan.slice_rows(first, last)
        input_tokens, target_tokens = row_index.table.tokens(local.table_row)
        batch = row_index.layout.assemble(
            row=local.row,
            task=local.task,
            input_lengths=local.input_lengths,
            target_lengths=local.target_lengths,
            input_tokens=input_tokens,
            target_tokens=target_tokens,
            target_weights=row_index.table.target_weights(local.table_row, local.task, local.target_lengths),
            rows=last - first,
        )
        tasks = len(row_index.table.sizes)
        counts = [np.bincount(plan.task, w, tasks) for w in (None, plan.input_lengths, plan.target_lengths)]
        return CountedBatch(batch, np.stack(counts).astype(np.int64))

    def get_state(self) -> dict[str, int]:
        return {"row": self._row}

    def set_state(self, state: Mapping[str, int]) -> None:
        self._row = state["row"]


class BatchDataset(grain.IterDataset[CountedBatch]):
    """The data set that grain's prefetching wraps.

    Args:
        config: of the rows.
        row_index: built from ``config``; ``None`` builds it where the iterator is made.
        row: the first row.
        batch_size: rows of a global batch.
        host_rows: first and last (exclusive) row of a batch that this host assembles.
    """

    def __init__(
        self,
        config: StreamConfig,
        row_index: PackedRowIndex | None,
        row: int,
        batch_size: int,
        host_rows: tuple[int, int],
    ) -> None:
        super().__init__()
        self._config = config
        self._row_index = row_index
        self._row = row
        self._batch_size = batch_size
        self._host_rows = host_rows
        self._stride = 1

    def set_slice(self, sl: slice, sequential_slice: bool = False) -> None:
        """Keeps every ``sl.step``-th batch: grain gives each worker process a slice of its own."""
        del sequential_slice
        self._row += (sl.start or 0) * self._batch_size
        self._stride = sl.step or 1

    def __iter__(self) -> _BatchIterator:
        row_index = self._row_index or self._config.row_index()
        return _BatchIterator(row_index, self._row, self._batch_size, self._host_rows, self._stride)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stream": None}


def prefetched(dataset: BatchDataset, batches: int, workers: int) -> grain.IterDataset[CountedBatch]:
    """Prefetches by one thread, or by worker processes.

    Args:
        dataset: not to be iterated over otherwise.
        batches: made ahead, by each worker where there are any; 0 makes each when it is asked for.
        workers: processes; 0 for a thread of this one.
    """
    if not workers:
        return grain.experimental.ThreadPrefetchIterDataset(dataset, prefetch_buffer_size=batches)
    if not flags.FLAGS.is_parsed():  # grain asks its flags, which only an absl program parses
        flags.FLAGS.mark_as_parsed()
    return dataset.mp_prefetch(
        grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=max(1, batches))
    )
