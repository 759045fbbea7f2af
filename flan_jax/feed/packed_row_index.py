"""Random access into the packed rows of a mixture: row number → examples, before any token is read.

Draws are taken in chunks of a fixed number, and each chunk is packed by itself, so that it depends
on nothing before it. How many rows a chunk makes depends on its lengths; to find row 10**9 without
packing all that comes before it, chunks are grouped in windows that all have the same number of rows:

    window 0                           window 1
    | body: chunks 0-23 | tail: 24-31 |  | body: chunks 32-55 | tail: 56-63 | …
      row after row       rows, and        row after row
                          some empty ones, evenly spread

The first window is packed to learn how many rows a window needs; every window gets that number and a
margin of a few standard deviations. The margin's rows are left empty, about a percent of all. Where a
window needs more than the first half of the margin, the rows that are too many stand in the next
window's tail: nothing drawn is ever lost.
"""

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from flan_jax.errors import UserError
from flan_jax.feed.layout import RowLayout
from flan_jax.feed.packed_chunks import CHUNK_DRAWS, PackedChunks, RowLocations, RowPlan, concatenate
from flan_jax.feed.sampler import BLOCK, Exhausted, MixtureSampler, SamplerStart
from flan_jax.feed.token_table import TokenTable
from flan_jax.store.store import StoredTask

PACKING_VERSION = 1
"""Incremented when another row comes at some number of the same tasks, weights, seed and layout: when drawing, shuffling,
packing or the windows change. A saved position would go on in other rows then. ``tests/golden/rows.json`` holds
rows of this version."""
WINDOW_CHUNKS = 32
"""Chunks in a window."""
TAIL_CHUNKS = 8
"""Chunks at the end of a window, whose rows are known together, so that empty ones can be spread among them."""

# A window needs the rows of the first one give or take a normal deviate: of one window, and of the first,
# by which it is judged. A window's own rows may exceed the first's by so many of these deviations, and the
# rows that the window before left over may be as many again.
_MARGIN_DEVIATIONS = 3.0


class _Tail(NamedTuple):
    """The end of a window.

    Attributes:
        slot: [n] the slot of each row, increasing; slots between them are empty rows.
        locations: [n] of the rows: those of the window's own chunks, then those overflown from the window before.
        overflow: rows of the window's own chunks that found no slot in it.
    """

    slot: np.ndarray
    locations: RowLocations
    overflow: RowLocations


class WindowCapacity(NamedTuple):
    """Rows of a window.

    Attributes:
        rows: all of them.
        own: those that its own chunks may fill.
    """

    rows: int
    own: int


class PackedRowIndex:
    """The packed rows of a mixture by number. It holds no position: every method is a function of its arguments.

    Args:
        tasks: what to draw from; a task of weight 0 is never drawn.
        weights: [tasks] shares of the draws.
        seed: another seed gives another order.
        layout: lengths and packing of a row.
        exhausted: policy for a task that was gone through.
        epochs: after how many epochs it was.
        start: state at the beginning of this part of the run; ``None`` for the run's beginning.
        earlier: an index of the same tasks and layout, where there is one already: what does not depend on weights is
            taken from it.

    Raises:
        UserError: unusable weights, or a task with an example that is longer than a row.
    """

    def __init__(
        self,
        tasks: Sequence[StoredTask],
        weights: Sequence[float] | np.ndarray,
        *,
        seed: int,
        layout: RowLayout,
        exhausted: Exhausted = "repeat",
        epochs: int = 1,
        start: SamplerStart | None = None,
        earlier: "PackedRowIndex | None" = None,
    ) -> None:
        if len(tasks) != len(weights):
            raise UserError(f"{len(tasks)} tasks and {len(weights)} weights were given; there must be as many of each.")
        drawn = np.asarray(weights) > 0
        self._checked: np.ndarray = np.zeros(len(tasks), bool) if earlier is None else earlier._checked
        for index in np.flatnonzero(drawn & ~self._checked).tolist():
            layout.check_fits(tasks[index])
        self._checked = self._checked | drawn
        self.table: TokenTable = TokenTable(tasks) if earlier is None else earlier.table
        self.sampler = MixtureSampler(
            self.table.sizes,
            weights,
            seed,
            exhausted=exhausted,
            epochs=epochs,
            start=start,
            names=tuple(task.name for task in tasks),
        )
        self.layout = layout
        self.chunks = PackedChunks(self.sampler, self.table, layout)
        self._tails: OrderedDict[int, _Tail] = OrderedDict()
        self._lock = threading.RLock()

    def digests(self, tasks: Sequence[StoredTask]) -> dict[str, int]:
        """Digests of what the order of rows depends on, by the keys of a saved position."""
        sampler = self.sampler
        return {
            "tasks": _digest([(task.name, task.split, task.fingerprint, len(task)) for task in tasks]),
            "weights": _digest(sampler.shares.tolist(), sampler.seed),
            "layout": _digest(
                self.layout.identity(),
                sampler.exhausted,
                sampler.epochs,
                CHUNK_DRAWS,
                WINDOW_CHUNKS,
                TAIL_CHUNKS,
                _MARGIN_DEVIATIONS,
                BLOCK,
            ),
            "packing": PACKING_VERSION,
        }

    # --- windows -------------------------------------------------------------------------------------------------------

    @cached_property
    def capacity(self) -> WindowCapacity | None:
        """Rows of a window; ``None`` where all rows stand in one. Packs the first window to find out."""
        if self.chunks.count is not None and self.chunks.count <= WINDOW_CHUNKS:
            return None
        sizes = np.array([self.chunks.num_rows(chunk) for chunk in range(WINDOW_CHUNKS)], np.int64)
        # Integers before the root: every machine finds the same margin.
        squares = (
            WINDOW_CHUNKS * int((sizes * sizes).sum()) - int(sizes.sum()) ** 2
        )  # WINDOW_CHUNKS² times a chunk's variance
        margin = int(squares > 0) + math.ceil(_MARGIN_DEVIATIONS * math.sqrt(2 * squares / WINDOW_CHUNKS))
        own = int(sizes.sum()) + margin
        return WindowCapacity(own + margin, own)

    @property
    def cached_capacity(self) -> WindowCapacity | None:
        """``capacity`` if it is known already, else ``None``; costs nothing."""
        return self.__dict__.get("capacity")

    def set_capacity(self, rows: int, own: int) -> None:
        """Sets ``capacity`` to that of an equal index, which saves packing the first window."""
        self.__dict__["capacity"] = WindowCapacity(rows, own)

    def _chunks_of(self, window: int) -> range:
        first = window * WINDOW_CHUNKS
        last = first + WINDOW_CHUNKS if self.chunks.count is None else min(first + WINDOW_CHUNKS, self.chunks.count)
        return range(first, max(first, last))

    def _is_last(self, window: int) -> bool:
        return self.chunks.count is not None and (window + 1) * WINDOW_CHUNKS >= self.chunks.count

    def _window_of(self, row: int) -> tuple[int, int]:
        """The window of a row and the row's slot in it."""
        if self.cached_capacity is None:
            # In the body of the first window it need not be known yet how many rows a window has.
            before = 0
            for chunk in self._body_of(0):
                before += self.chunks.num_rows(chunk)
                if row < before:
                    return 0, row
        if self.capacity is None:
            return 0, row
        window = row // self.capacity.rows
        if self.chunks.count is not None:
            window = min(window, (self.chunks.count - 1) // WINDOW_CHUNKS)  # the last one has as many rows as it needs
        return window, row - window * self.capacity.rows

    def _body_of(self, window: int) -> range:
        return self._chunks_of(window)[: WINDOW_CHUNKS - TAIL_CHUNKS]

    def _first_of_tail(self, window: int) -> int:
        """The slot after a window's body, whose chunks have to be packed to find out."""
        return sum(self.chunks.num_rows(chunk) for chunk in self._body_of(window))

    def _own_tail(self, window: int) -> tuple[RowLocations, RowLocations]:
        """Splits the rows of a tail's own chunks into those that fit into the window and those that overflow."""
        rows = self.chunks.locations(self._chunks_of(window)[WINDOW_CHUNKS - TAIL_CHUNKS :])
        capacity = self.capacity
        if capacity is None or self._is_last(window):
            return rows, rows.select(slice(0, 0))
        room = max(0, capacity.own - self._first_of_tail(window))
        kept, overflow = rows.select(slice(0, room)), rows.select(slice(room, None))
        if len(overflow.row) > capacity.rows - capacity.own:
            raise UserError(
                f"The rows {window * capacity.rows} to {(window + 1) * capacity.rows} would need "
                f"{len(overflow.row)} more than the margin that packing plans with. "
                "Choose another seed, or train without packing."
            )
        return kept, overflow

    def _tail(self, window: int) -> _Tail:
        with self._lock:
            if window in self._tails:
                return self._tails[window]
            own, overflow = self._own_tail(window)
            if window:
                own = concatenate(own, self._own_tail(window - 1)[1])
            first = self._first_of_tail(window)
            slot = np.arange(len(own.row))
            capacity = self.capacity
            if capacity is not None and not self._is_last(window) and len(slot):
                slot = slot * (capacity.rows - first) // len(slot)
            made = _Tail(first + slot, own, overflow)
            self._tails[window] = made
            if len(self._tails) > 2:
                self._tails.popitem(last=False)
            return made

    # --- rows ----------------------------------------------------------------------------------------------------------

    def plan(self, row: int, count: int) -> tuple[RowPlan, int]:
        """Plans ``count`` consecutive rows.

        Args:
            row: the first one.
            count: how many.

        Returns:
            The examples of the rows, and how many rows there are: fewer than ``count`` where the sequence ends.
        """
        numbers: list[np.ndarray] = []
        locations: list[RowLocations] = []
        done = 0
        while done < count:
            number, location, found = self._run_of_rows(row + done, count - done)
            numbers.append(number + done)
            locations.append(location)
            done += found
            if not found:
                break
        return self.chunks.plan(np.concatenate(numbers), concatenate(*locations)), done

    def _run_of_rows(self, row: int, count: int) -> tuple[np.ndarray, RowLocations, int]:
        """Finds the longest run from ``row`` on that one chunk's body, or one tail, holds.

        Returns:
            The numbers of its rows relative to ``row``, their locations, and how many slots they take, empty ones
            included.
        """
        window, slot = self._window_of(row)
        before = 0
        for chunk in self._body_of(window):
            size = self.chunks.num_rows(chunk)
            if slot < before + size:
                found = min(count, before + size - slot)
                return np.arange(found), RowLocations(np.full(found, chunk), slot - before + np.arange(found)), found
            before += size
        tail = self._tail(window)
        capacity = self.capacity
        end = before + len(tail.slot) if capacity is None or self._is_last(window) else capacity.rows
        found = max(0, min(count, end - slot))
        low, high = np.searchsorted(tail.slot, [slot, slot + found])
        return tail.slot[low:high] - slot, tail.locations.select(slice(low, high)), found

    def chunks_begun(self, row: int) -> tuple[int, RowLocations]:
        """Finds which chunks have rows on either side of a boundary.

        Args:
            row: the first row after the boundary.

        Returns:
            How many chunks have a row before ``row``, and the locations of these chunks' rows at or after it.
        """
        window, slot = self._window_of(row)
        if slot == 0 and window:
            assert self.capacity is not None
            window, slot = window - 1, self.capacity.rows
        none = RowLocations(np.zeros(0, np.int64), np.zeros(0, np.int64))
        overflow = self._own_tail(window - 1)[1] if window else none
        before = 0
        for chunk in self._body_of(window):
            if slot <= before:
                return chunk, overflow
            size = self.chunks.num_rows(chunk)
            if slot <= before + size:
                rest = np.arange(slot - before, size)
                return chunk + 1, concatenate(RowLocations(np.full(len(rest), chunk), rest), overflow)
            before += size
        tail = self._tail(window)
        out = int(np.searchsorted(tail.slot, slot))
        own_rows = len(tail.slot) - len(overflow.row)
        begun = int(tail.locations.chunk[:out][:own_rows].max(initial=self._body_of(window).stop - 1)) + 1
        if out >= own_rows:
            begun = self._chunks_of(window).stop
        own = concatenate(tail.locations.select(slice(out, own_rows)), tail.overflow)
        return begun, concatenate(own.select(own.chunk < begun), tail.locations.select(slice(max(out, own_rows), None)))


def _digest(*parts: object) -> int:
    """Hashes the ``repr`` of the parts to 48 bits, which every JSON reader keeps whole."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=6).digest(), "little")
