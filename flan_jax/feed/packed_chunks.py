"""Pools of draws, each packed by itself: what is drawn together, and which rows it makes."""

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from flan_jax.feed.layout import RowLayout
from flan_jax.feed.packing import Rows
from flan_jax.feed.permute import key
from flan_jax.feed.sampler import MixtureSampler
from flan_jax.feed.token_table import TokenTable

POOL = 4096
"""Draws that are packed together: on instruction data within 1% of the rows that packing all at once needs."""

# Pools and sizes kept in memory. A reader needs the pools of a tail and of the tail before it.
_KEPT = 24
_KEPT_SIZES = 512
# What a key is for; the sampler's own purposes are below 16.
_ROW_ORDER = 16


class PackedChunk(NamedTuple):
    """One pool's draws and its rows.

    Attributes:
        task: [n] int32, by draw.
        row_in_corpus: [n] int64, by draw.
        input_lengths: [n] int32, by draw.
        target_lengths: [n] int32, by draw.
        rows: which draws stand in which row.
    """

    task: np.ndarray
    row_in_corpus: np.ndarray
    input_lengths: np.ndarray
    target_lengths: np.ndarray
    rows: Rows


class RowPlan(NamedTuple):
    """The examples of some consecutive rows, row by row.

    Attributes:
        row: [n] int64, counted from the first of these rows; a row that is missing is empty.
        task: [n] int32.
        row_in_corpus: [n] int64.
        input_lengths: [n] int32.
        target_lengths: [n] int32.
    """

    row: np.ndarray
    task: np.ndarray
    row_in_corpus: np.ndarray
    input_lengths: np.ndarray
    target_lengths: np.ndarray

    def part(self, first: int, last: int) -> "RowPlan":
        """Rows ``first`` … ``last - 1``, counted from the first of them."""
        low, high = np.searchsorted(self.row, [first, last])
        cut = RowPlan(*(column[low:high] for column in self))
        return cut._replace(row=cut.row - first)


class ChunkRows(NamedTuple):
    """Rows by place.

    Attributes:
        pool: [n] int64.
        row: [n] int64, the row in its pool.
    """

    pool: np.ndarray
    row: np.ndarray

    def part(self, chosen: slice | np.ndarray) -> "ChunkRows":
        """Some of them."""
        return ChunkRows(self.pool[chosen], self.row[chosen])


def joined(*parts: ChunkRows) -> ChunkRows:
    """Places one after another."""
    return ChunkRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class PackedChunks:
    """Pools by number, the last ones kept. Safe to ask from several threads.

    Args:
        sampler: gives the draws.
        corpus: knows their lengths.
        layout: what a row is.
    """

    def __init__(self, sampler: MixtureSampler, corpus: TokenTable, layout: RowLayout) -> None:
        self._sampler = sampler
        self._corpus = corpus
        self._layout = layout
        self._pools: OrderedDict[int, PackedChunk] = OrderedDict()
        self._sizes: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.RLock()

    @property
    def count(self) -> int | None:
        """How many pools there are; ``None`` where they never end."""
        total = self._sampler.total
        return None if total is None else -(-total // POOL)

    def __getitem__(self, index: int) -> PackedChunk:
        with self._lock:
            if index not in self._pools:
                self._pools[index] = self._make(index)
                self._sizes[index] = len(self._pools[index].rows)
                if len(self._pools) > _KEPT:
                    self._pools.popitem(last=False)
                if len(self._sizes) > _KEPT_SIZES:
                    self._sizes.popitem(last=False)
            self._pools.move_to_end(index)
            return self._pools[index]

    @cached_property
    def longest_first(self) -> bool:
        """In which order examples are packed: whichever leaves fewer rows in the first pool."""
        _, _, *lengths = self._drawn(0)
        decreasing, as_drawn = (len(self._layout.rows(*lengths, longest_first=first)) for first in (True, False))
        return decreasing <= as_drawn

    def _drawn(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        draws = self._sampler.draws(index * POOL, POOL)
        row_in_corpus = self._corpus.rows(draws.task, draws.example)
        return draws.task, row_in_corpus, *self._corpus.lengths(row_in_corpus)

    def _make(self, index: int) -> PackedChunk:
        task, row_in_corpus, input_lengths, target_lengths = self._drawn(index)
        rows = self._layout.rows(input_lengths, target_lengths, longest_first=self.longest_first)
        if self._layout.packed:
            # Packing leaves long examples first; a batch should not be told from another by that.
            order = key(self._sampler.order_seed, _ROW_ORDER, index, np.arange(len(rows)))
            rows = rows.reordered(np.argsort(order, kind="stable"))
        return PackedChunk(task, row_in_corpus, input_lengths, target_lengths, rows)

    def size(self, index: int) -> int:
        """How many rows a pool makes. Without packing this is known; with it, the pool is packed."""
        if not self._layout.packed:
            total = self._sampler.total
            return POOL if total is None else min(POOL, total - index * POOL)
        with self._lock:
            return self._sizes[index] if index in self._sizes else len(self[index].rows)

    def rows(self, pools: range) -> ChunkRows:
        """All rows of some pools, in order."""
        sizes = np.array([self.size(pool) for pool in pools], np.int64)
        first = np.cumsum(sizes) - sizes
        return ChunkRows(np.repeat(np.array(pools, np.int64), sizes), np.arange(sizes.sum()) - np.repeat(first, sizes))

    def plan(self, number: np.ndarray, places: ChunkRows) -> RowPlan:
        """The examples of some rows.

        Args:
            number: [n] what ``RowPlan.row`` calls each row.
            places: [n] where they stand.
        """
        none = np.zeros(0, np.int32)
        parts = [RowPlan(none.astype(np.int64), none, none.astype(np.int64), none, none)]
        for pool, run in _runs(places):
            there = self[pool]
            chosen = there.rows.reordered(places.row[run])
            columns = (there.task, there.row_in_corpus, there.input_lengths, there.target_lengths)
            rows = np.repeat(number[run], np.diff(chosen.starts))
            parts.append(RowPlan(rows, *(column[chosen.examples] for column in columns)))
        return parts[-1] if len(parts) <= 2 else RowPlan(*map(np.concatenate, zip(*parts, strict=True)))

    def numbers(self, places: ChunkRows) -> np.ndarray:
        """[examples] int64, for the examples of ``plan``: the how-manieth draw of its task each is."""
        numbers = [np.zeros(0, np.int64)]
        for pool, run in _runs(places):
            chosen = self[pool].rows.reordered(places.row[run])
            numbers.append(self._sampler.draws(pool * POOL, POOL).number[chosen.examples])
        return np.concatenate(numbers)


def _runs(places: ChunkRows) -> Iterator[tuple[int, slice]]:
    """Each pool with the stretch of consecutive places that stand in it."""
    cuts = [0, *(np.flatnonzero(np.diff(places.pool)) + 1).tolist(), len(places.pool)]
    for low, high in itertools.pairwise(cuts):
        if low < high:
            yield int(places.pool[low]), slice(low, high)
