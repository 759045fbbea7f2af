"""Batches as a grain data set: what is made, in whatever thread or process grain asks from."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import grain
import numpy as np

from flan_jax.feed.layout import Batch, RowLayout
from flan_jax.feed.packed_row_index import PackedRowIndex
from flan_jax.feed.sampler import Exhausted, Start
from flan_jax.feed.token_table import TokenTable
from flan_jax.store.store import StoredTask


class Element(NamedTuple):
    """One batch and what it holds.

    Attributes:
        batch: this host's rows.
        counts: [3, tasks] int64, of the global batch: examples, input tokens, target tokens.
    """

    batch: Batch
    counts: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class StreamConfig:
    """All that a stream of rows is made from. It goes to other processes; the stream does not."""

    tasks: tuple[StoredTask, ...]
    weights: np.ndarray
    seed: int
    layout: RowLayout
    exhausted: Exhausted
    epochs: int
    start: Start | None = None

    def stream(self, corpus: TokenTable | None = None) -> PackedRowIndex:
        """The stream, over a table of the same tasks where there is one already."""
        return PackedRowIndex(
            self.tasks,
            self.weights,
            seed=self.seed,
            layout=self.layout,
            exhausted=self.exhausted,
            epochs=self.epochs,
            start=self.start,
            corpus=corpus,
        )


class _BatchIterator(grain.DatasetIterator[Element]):
    """Makes every ``stride``-th batch from a row on, in whatever thread or process asks."""

    def __init__(self, stream: PackedRowIndex, row: int, batch_size: int, own: tuple[int, int], stride: int) -> None:
        super().__init__()
        self._stream = stream
        self._row = row
        self._batch_size = batch_size
        self._own = own
        self._stride = stride

    def __next__(self) -> Element:
        stream = self._stream
        plan, rows = stream.plan(self._row, self._batch_size)
        if not rows:
            raise StopIteration
        self._row += self._stride * self._batch_size
        first, last = self._own
        own = plan.part(first, last)
        input_tokens, target_tokens = stream.corpus.tokens(own.row_in_corpus)
        batch = stream.layout.assemble(
            row=own.row,
            task=own.task,
            input_lengths=own.input_lengths,
            target_lengths=own.target_lengths,
            input_tokens=input_tokens,
            target_tokens=target_tokens,
            target_weights=stream.corpus.target_weights(own.row_in_corpus, own.task, own.target_lengths),
            rows=last - first,
        )
        tasks = len(stream.corpus.sizes)
        counts = [np.bincount(plan.task, w, tasks) for w in (None, plan.input_lengths, plan.target_lengths)]
        return Element(batch, np.stack(counts).astype(np.int64))

    def get_state(self) -> dict[str, int]:
        return {"row": self._row}

    def set_state(self, state: Mapping[str, int]) -> None:
        self._row = state["row"]


class BatchDataset(grain.IterDataset[Element]):
    """What grain's prefetching is wrapped around."""

    def __init__(
        self, recipe: StreamConfig, stream: PackedRowIndex | None, row: int, batch_size: int, own: tuple[int, int]
    ) -> None:
        super().__init__()
        self._recipe = recipe
        self._stream = stream
        self._row = row
        self._batch_size = batch_size
        self._own = own
        self._stride = 1

    def set_slice(self, sl: slice, sequential_slice: bool = False) -> None:
        """Keeps every ``sl.step``-th batch; this is how grain tells worker processes apart."""
        del sequential_slice
        self._row += (sl.start or 0) * self._batch_size
        self._stride = sl.step or 1

    def __iter__(self) -> _BatchIterator:
        stream = self._stream or self._recipe.stream()
        return _BatchIterator(stream, self._row, self._batch_size, self._own, self._stride)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stream": None}
