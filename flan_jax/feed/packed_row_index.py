"""The sequence of rows that a mixture is, before any token is read. A row is found by its number alone.

Draws are taken in pools of a fixed number, and each pool is packed by itself, so that a pool depends
on nothing before it. How many rows a pool makes depends on its lengths; to find row 10**9 without
packing all that comes before it, pools are gathered in windows that all have the same number of rows:

    window 0                          window 1
    | body: pools 0-23 | tail: 24-31 |  | body: pools 32-55 | tail: 56-63 | …
      row after row      rows, and        row after row
                         some empty ones, evenly spread

The first window is packed to learn how many rows a window needs; every window gets that number and a
margin of a few standard deviations. The margin's rows are left empty, about a percent of all. Where a
window needs more than the first half of the margin, the rows that are too many stand in the next
window's tail: nothing drawn is ever lost.
"""

import dataclasses
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
from flan_jax.feed.packed_chunks import POOL, ChunkRows, PackedChunks, RowPlan, joined
from flan_jax.feed.sampler import BLOCK, Exhausted, MixtureSampler, Start
from flan_jax.feed.token_table import TokenTable
from flan_jax.store.store import StoredTask

PACKING = 1
"""Raised when another row comes at some number of the same tasks, weights, seed and layout: when drawing, shuffling,
packing or the windows change. A saved position would go on in other rows then. ``tests/golden/rows.json`` holds
rows of this version."""
WINDOW = 32
"""Pools in a window."""
TAIL = 8
"""Pools at the end of a window, whose rows are known together, so that empty ones can be spread among them."""

# A window needs the rows of the first one give or take a normal deviate: of one window, and of the first,
# by which it is judged. A window's own rows may exceed the first's by so many of these deviations, and the
# rows that the window before left over may be as many again.
_DEVIATIONS = 3.0


class _Tail(NamedTuple):
    """The end of a window: which rows stand in which of its slots, and its own rows that found none."""

    slot: np.ndarray
    places: ChunkRows
    left_over: ChunkRows


class Capacity(NamedTuple):
    """Rows of a window: all, and those that its own pools may fill."""

    rows: int
    own: int


class PackedRowIndex:
    """Rows by number. It holds no position itself: every method is a function of its arguments.

    Args:
        tasks: what to draw from; a task of weight 0 is never drawn.
        weights: [tasks] shares of the draws.
        seed: another seed gives another order.
        layout: what a row is.
        exhausted: what becomes of a task that was gone through.
        epochs: after how many epochs it was.
        start: where this part of the run begins; ``None`` for the beginning.

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
        start: Start | None = None,
        corpus: TokenTable | None = None,
    ) -> None:
        if len(tasks) != len(weights):
            raise UserError(f"{len(tasks)} tasks and {len(weights)} weights were given; there must be as many of each.")
        for task, weight in zip(tasks, weights, strict=True):
            if weight > 0:
                layout.check(task)
        self.sampler = MixtureSampler(
            [len(task) for task in tasks],
            weights,
            seed,
            exhausted=exhausted,
            epochs=epochs,
            start=start,
            names=[task.name for task in tasks],
        )
        self.corpus = corpus or TokenTable(tasks)
        self.layout = layout
        self.pools = PackedChunks(self.sampler, self.corpus, layout)
        self._tails: OrderedDict[int, _Tail] = OrderedDict()
        self._lock = threading.RLock()

    def identity(self, tasks: Sequence[StoredTask]) -> dict[str, int]:
        """Small numbers that say which part of what the order depends on has changed."""
        sampler = self.sampler
        return {
            "tasks": _digest([(task.name, task.split, task.fingerprint, len(task)) for task in tasks]),
            "weights": _digest(sampler.shares.tolist(), sampler.seed),
            "layout": _digest(
                dataclasses.astuple(self.layout),
                sampler.exhausted,
                sampler.epochs,
                POOL,
                WINDOW,
                TAIL,
                _DEVIATIONS,
                BLOCK,
            ),
            "packing": PACKING,
        }

    # --- windows -------------------------------------------------------------------------------------------------------

    @cached_property
    def capacity(self) -> Capacity | None:
        """The rows of a window; ``None`` where all rows stand in one. The first window is packed for it."""
        if self.pools.count is not None and self.pools.count <= WINDOW:
            return None
        sizes = np.array([self.pools.size(pool) for pool in range(WINDOW)], np.int64)
        # Integers before the root: every machine finds the same margin.
        squares = WINDOW * int((sizes * sizes).sum()) - int(sizes.sum()) ** 2  # WINDOW² times the variance of a pool
        margin = int(squares > 0) + math.ceil(_DEVIATIONS * math.sqrt(2 * squares / WINDOW))
        own = int(sizes.sum()) + margin
        return Capacity(own + margin, own)

    @property
    def known_capacity(self) -> Capacity | None:
        """``capacity`` if it was asked for before; it costs nothing."""
        return self.__dict__.get("capacity")

    def know_capacity(self, rows: int, own: int) -> None:
        """Takes ``capacity`` from an equal stream, where the first window was packed already."""
        self.__dict__["capacity"] = Capacity(rows, own)

    def _pools_of(self, window: int) -> range:
        first = window * WINDOW
        last = first + WINDOW if self.pools.count is None else min(first + WINDOW, self.pools.count)
        return range(first, max(first, last))

    def _is_last(self, window: int) -> bool:
        return self.pools.count is not None and (window + 1) * WINDOW >= self.pools.count

    def _window_of(self, row: int) -> tuple[int, int]:
        """The window of a row and the row's slot in it."""
        if self.known_capacity is None:
            # In the body of the first window it need not be known yet how many rows a window has.
            before = 0
            for pool in self._body_of(0):
                before += self.pools.size(pool)
                if row < before:
                    return 0, row
        if self.capacity is None:
            return 0, row
        window = row // self.capacity.rows
        if self.pools.count is not None:
            window = min(window, (self.pools.count - 1) // WINDOW)  # the last one has as many rows as it needs
        return window, row - window * self.capacity.rows

    def _body_of(self, window: int) -> range:
        return self._pools_of(window)[: WINDOW - TAIL]

    def _first_of_tail(self, window: int) -> int:
        """The slot after a window's body, whose pools have to be packed for it."""
        return sum(self.pools.size(pool) for pool in self._body_of(window))

    def _own_tail(self, window: int) -> tuple[ChunkRows, ChunkRows]:
        """The rows of a tail's own pools: those that stand in it, and those that are left over."""
        rows = self.pools.rows(self._pools_of(window)[WINDOW - TAIL :])
        capacity = self.capacity
        if capacity is None or self._is_last(window):
            return rows, rows.part(slice(0, 0))
        room = max(0, capacity.own - self._first_of_tail(window))
        kept, left_over = rows.part(slice(0, room)), rows.part(slice(room, None))
        if len(left_over.row) > capacity.rows - capacity.own:
            raise UserError(
                f"The rows {window * capacity.rows} to {(window + 1) * capacity.rows} would need "
                f"{len(left_over.row)} more than the margin that packing plans with. "
                "Choose another seed, or train without packing."
            )
        return kept, left_over

    def _tail(self, window: int) -> _Tail:
        with self._lock:
            if window in self._tails:
                return self._tails[window]
            own, left_over = self._own_tail(window)
            if window:
                own = joined(own, self._own_tail(window - 1)[1])
            first = self._first_of_tail(window)
            number = np.arange(len(own.row))
            capacity = self.capacity
            if capacity is not None and not self._is_last(window) and len(number):
                number = number * (capacity.rows - first) // len(number)
            made = _Tail(first + number, own, left_over)
            self._tails[window] = made
            if len(self._tails) > 2:
                self._tails.popitem(last=False)
            return made

    # --- rows ----------------------------------------------------------------------------------------------------------

    def plan(self, row: int, count: int) -> tuple[RowPlan, int]:
        """``count`` rows from a row on, and how many there are: fewer where the sequence ends."""
        numbers: list[np.ndarray] = []
        places: list[ChunkRows] = []
        done = 0
        while done < count:
            number, place, found = self._run(row + done, count - done)
            numbers.append(number + done)
            places.append(place)
            done += found
            if not found:
                break
        return self.pools.plan(np.concatenate(numbers), joined(*places)), done

    def _run(self, row: int, count: int) -> tuple[np.ndarray, ChunkRows, int]:
        """Some rows from a row on: their numbers from it, their places, and how many slots they take."""
        window, slot = self._window_of(row)
        before = 0
        for pool in self._body_of(window):
            size = self.pools.size(pool)
            if slot < before + size:
                found = min(count, before + size - slot)
                return np.arange(found), ChunkRows(np.full(found, pool), slot - before + np.arange(found)), found
            before += size
        tail = self._tail(window)
        capacity = self.capacity
        end = before + len(tail.slot) if capacity is None or self._is_last(window) else capacity.rows
        found = max(0, min(count, end - slot))
        low, high = np.searchsorted(tail.slot, [slot, slot + found])
        return tail.slot[low:high] - slot, tail.places.part(slice(low, high)), found

    def begun(self, row: int) -> tuple[int, ChunkRows]:
        """How many pools have a row before this one, and the rows of these pools that stand after it."""
        window, slot = self._window_of(row)
        if slot == 0 and window:
            assert self.capacity is not None
            window, slot = window - 1, self.capacity.rows
        owed = self._own_tail(window - 1)[1] if window else ChunkRows(np.zeros(0, np.int64), np.zeros(0, np.int64))
        before = 0
        for pool in self._body_of(window):
            if slot <= before:
                return pool, owed
            size = self.pools.size(pool)
            if slot <= before + size:
                rest = np.arange(slot - before, size)
                return pool + 1, joined(ChunkRows(np.full(len(rest), pool), rest), owed)
            before += size
        tail = self._tail(window)
        out = int(np.searchsorted(tail.slot, slot))
        own_rows = len(tail.slot) - len(owed.row)
        pools = int(tail.places.pool[:out][:own_rows].max(initial=self._body_of(window).stop - 1)) + 1
        if out >= own_rows:
            pools = self._pools_of(window).stop
        own = joined(tail.places.part(slice(out, own_rows)), tail.left_over)
        return pools, joined(own.part(own.pool < pools), tail.places.part(slice(max(out, own_rows), None)))


def _digest(*parts: object) -> int:
    """48 bits of what the parts print as, so that every JSON reader keeps the number whole."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=6).digest(), "little")
