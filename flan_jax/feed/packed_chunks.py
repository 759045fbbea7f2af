"""Packs draws into rows in chunks of fixed size, each chunk independent of all others."""

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from flan_jax.feed.layout import RowLayout
from flan_jax.feed.packing import PackedRows
from flan_jax.feed.permute import fold_in
from flan_jax.feed.sampler import MixtureSampler
from flan_jax.feed.token_table import TokenTable

CHUNK_DRAWS = 4096
"""Draws in a packing chunk: on instruction data within 1% of the rows that packing all at once needs."""

# Chunks and row counts kept in memory. A reader needs the chunks of a tail and of the tail before it.
_CACHED_CHUNKS = 24
_CACHED_SIZES = 512
# Purpose of a random key; the sampler's own purposes are below 16.
_ROW_ORDER = 16


class PackedChunk(NamedTuple):
    """The draws of one chunk, and how they are packed.

    Attributes:
        task: [n] int32, by draw.
        draw_index: [n] int64, by draw: the 0-based draw count within its task.
        table_row: [n] int64, by draw: the example's row in the ``TokenTable``.
        input_lengths: [n] int32, by draw.
        target_lengths: [n] int32, by draw.
        rows: which draws stand in which row.
    """

    task: np.ndarray
    draw_index: np.ndarray
    table_row: np.ndarray
    input_lengths: np.ndarray
    target_lengths: np.ndarray
    rows: PackedRows


class RowPlan(NamedTuple):
    """The examples of some consecutive rows, row by row.

    Attributes:
        row: [n] int64, not decreasing, relative to the first of these rows; a row that is missing is empty.
        task: [n] int32.
        table_row: [n] int64, the example's row in the ``TokenTable``.
        input_lengths: [n] int32.
        target_lengths: [n] int32.
    """

    row: np.ndarray
    task: np.ndarray
    table_row: np.ndarray
    input_lengths: np.ndarray
    target_lengths: np.ndarray

    def slice_rows(self, first: int, last: int) -> "RowPlan":
        """Selects rows ``first`` … ``last - 1``, renumbered from 0."""
        low, high = np.searchsorted(self.row, [first, last])
        cut = RowPlan(*(column[low:high] for column in self))
        return cut._replace(row=cut.row - first)


class RowLocations(NamedTuple):
    """Rows, addressed by chunk and row within the chunk.

    Attributes:
        chunk: [n] int64, index of the chunk.
        row: [n] int64, index of the row in its chunk.
    """

    chunk: np.ndarray
    row: np.ndarray

    def select(self, which: slice | np.ndarray) -> "RowLocations":
        """Indexes both arrays alike."""
        return RowLocations(self.chunk[which], self.row[which])


def concatenate(*parts: RowLocations) -> RowLocations:
    """Concatenates locations."""
    return RowLocations(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class PackedChunks:
    """Packed chunks by index, in an LRU cache. Thread-safe.

    Args:
        sampler: the sequence of draws.
        table: the lengths of the examples.
        layout: lengths and packing of a row.
    """

    def __init__(self, sampler: MixtureSampler, table: TokenTable, layout: RowLayout) -> None:
        self._sampler = sampler
        self._table = table
        self._layout = layout
        self._chunks: OrderedDict[int, PackedChunk] = OrderedDict()
        self._sizes: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.RLock()

    @property
    def count(self) -> int | None:
        """Number of chunks; ``None`` where they never end."""
        total = self._sampler.total
        return None if total is None else -(-total // CHUNK_DRAWS)

    def __getitem__(self, index: int) -> PackedChunk:
        with self._lock:
            if index not in self._chunks:
                self._chunks[index] = self._pack(index)
                self._sizes[index] = len(self._chunks[index].rows)
                if len(self._chunks) > _CACHED_CHUNKS:
                    self._chunks.popitem(last=False)
                if len(self._sizes) > _CACHED_SIZES:
                    self._sizes.popitem(last=False)
            self._chunks.move_to_end(index)
            return self._chunks[index]

    @cached_property
    def longest_first(self) -> bool:
        """True where examples are packed longest first, false where as drawn: whichever makes fewer rows of chunk 0."""
        *_, input_lengths, target_lengths = self._draw(0)
        lengths = input_lengths, target_lengths
        decreasing, as_drawn = (len(self._layout.pack(*lengths, longest_first=first)) for first in (True, False))
        return decreasing <= as_drawn

    def _draw(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        draws = self._sampler.draws(index * CHUNK_DRAWS, CHUNK_DRAWS)
        table_row = self._table.rows(draws.task, draws.example)
        return draws.task, draws.draw_index, table_row, *self._table.lengths(table_row)

    def _pack(self, index: int) -> PackedChunk:
        task, draw_index, table_row, input_lengths, target_lengths = self._draw(index)
        rows = self._layout.pack(input_lengths, target_lengths, longest_first=self.longest_first)
        if self._layout.packed:
            # Packing leaves long examples first; a batch should not be told from another by that.
            order = fold_in(self._sampler.order_seed, _ROW_ORDER, index, np.arange(len(rows)))
            rows = rows.reordered(np.argsort(order, kind="stable"))
        return PackedChunk(task, draw_index, table_row, input_lengths, target_lengths, rows)

    def num_rows(self, index: int) -> int:
        """Number of rows of a chunk. With packing, the chunk is packed to find out."""
        if not self._layout.packed:
            total = self._sampler.total
            return CHUNK_DRAWS if total is None else min(CHUNK_DRAWS, total - index * CHUNK_DRAWS)
        with self._lock:
            return self._sizes[index] if index in self._sizes else len(self[index].rows)

    def locations(self, chunks: range) -> RowLocations:
        """Locations of all rows of ``chunks``, in order."""
        sizes = np.array([self.num_rows(chunk) for chunk in chunks], np.int64)
        first = np.cumsum(sizes) - sizes
        return RowLocations(
            np.repeat(np.array(chunks, np.int64), sizes), np.arange(sizes.sum()) - np.repeat(first, sizes)
        )

    def plan(self, row: np.ndarray, locations: RowLocations) -> RowPlan:
        """Lists the examples of some rows.

        Args:
            row: [n] the number that each row gets in ``RowPlan.row``.
            locations: [n] of the rows.
        """
        none = np.zeros(0, np.int32)
        parts = [RowPlan(none.astype(np.int64), none, none.astype(np.int64), none, none)]
        for chunk, run in _runs_by_chunk(locations):
            packed = self[chunk]
            chosen = packed.rows.reordered(locations.row[run])
            columns = (packed.task, packed.table_row, packed.input_lengths, packed.target_lengths)
            rows = np.repeat(row[run], np.diff(chosen.starts))
            parts.append(RowPlan(rows, *(column[chosen.examples] for column in columns)))
        return parts[-1] if len(parts) <= 2 else RowPlan(*map(np.concatenate, zip(*parts, strict=True)))

    def draw_indices(self, locations: RowLocations) -> np.ndarray:
        """[examples] int64, the 0-based draw count within the task of each example of ``plan``."""
        parts = [np.zeros(0, np.int64)]
        for chunk, run in _runs_by_chunk(locations):
            packed = self[chunk]
            parts.append(packed.draw_index[packed.rows.reordered(locations.row[run]).examples])
        return np.concatenate(parts)


def _runs_by_chunk(locations: RowLocations) -> Iterator[tuple[int, slice]]:
    """Yields each chunk with the slice of consecutive locations in it."""
    cuts = [0, *(np.flatnonzero(np.diff(locations.chunk)) + 1).tolist(), len(locations.chunk)]
    for low, high in itertools.pairwise(cuts):
        if low < high:
            yield int(locations.chunk[low]), slice(low, high)
