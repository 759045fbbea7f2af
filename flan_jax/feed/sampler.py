"""Deterministic mixture sampling: the example at position k is a pure function of seed, weights and sizes.

Task t is to be drawn n·p_t times among n draws. Of the first n *nominal* draws it gets

    C_t(n) = floor(n · p_t + u_t),      u_t in [0, 1) fixed by (seed, t),

so at the end of every block of nominal draws each task is within one draw of its share, where
independent draws would be off by √n. Inside a block the tasks are shuffled. A block of B nominal
draws holds B give or take a few actual ones, because each task rounds for itself.

The k-th draw of a task of n examples is its example ``permutation(k // n)[k mod n]``: a task that
is exhausted starts its next epoch, in a new order, unless a policy says otherwise.

Seeking is two closed forms over the tasks, whatever the distance. Where weights changed during a
run, the same forms count from that point on (``SamplerStart``).
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from flan_jax.errors import UserError, unknown
from flan_jax.feed.permute import fold_in, permute

BLOCK = 4096
"""Nominal draws in a block, within which shares hold and draws are shuffled."""

Exhausted = Literal["repeat", "drop", "stop"]
"""Policy for a task whose epochs are over: it is shuffled anew and goes on (``repeat``), it leaves the
mixture and the others share its part (``drop``), or the sequence ends for all tasks (``stop``)."""

# Shares are rounded to this many fractional bits: all further arithmetic is exact, in integers.
SHARE_BITS = 40
_LOW_BITS = 22
_MAX_NOMINAL = 1 << (24 + _LOW_BITS)
# Purpose of a random key: no two random choices share one.
_OFFSET, _SHUFFLE, _EPOCH, _PART = 1, 2, 3, 4


class Draws(NamedTuple):
    """Consecutive draws, [count] each.

    Attributes:
        task: int32.
        example: int64, the example in its task.
        epoch: int32, which epoch of the task it belongs to.
        draw_index: int64, the 0-based draw count within the task, over the whole run.
    """

    task: np.ndarray
    example: np.ndarray
    epoch: np.ndarray
    draw_index: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class SamplerStart:
    """State of the draws where a part of a run begins: at the run's start, or where its weights were changed.

    Attributes:
        part: 0-based index of the part; it is folded into the seed of the shuffling.
        drawn: [tasks] int64, draws of each task until now, including those carried over.
        carried_over_task: [n] int32, the task of each draw that was made but not consumed.
        carried_over_index: [n] int64, the 0-based draw count within its task of each of them. They come
            first among the draws of their tasks.
    """

    part: int
    drawn: np.ndarray
    carried_over_task: np.ndarray
    carried_over_index: np.ndarray


def round_shares(weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """Rounds weights to [tasks] uint64 in units of 2**-40 that sum to 2**40 exactly (largest remainders).

    A positive weight stays positive.

    Raises:
        UserError: none, negative, not finite, or all zero.
    """
    shares = np.asarray(weights, np.float64)
    if shares.ndim != 1 or not shares.size:
        raise UserError("A sampler needs at least one task.")
    if not np.isfinite(shares).all() or (shares < 0).any() or not shares.any():
        raise UserError("Weights must be finite, not negative, and not all zero.")
    positive = shares > 0
    shares = np.ldexp(shares, -np.frexp(shares.max())[1])  # exact, and the sum stays finite
    # fsum rounds once: the order in which a machine adds up makes no difference.
    scaled = shares / math.fsum(shares) * 2.0**SHARE_BITS
    units = np.maximum(np.floor(scaled), positive).astype(np.int64)
    missing = (1 << SHARE_BITS) - int(units.sum())
    if missing > 0:
        order = np.argsort(-(scaled - np.floor(scaled)) - positive, kind="stable")
        some = int(positive.sum())
        units[order[:some]] += missing // some
        units[order[: missing % some]] += 1
    elif missing:
        units[np.argmax(units)] += missing
    return units.astype(np.uint64)


def _normalized(shares: np.ndarray) -> np.ndarray:
    return shares / float(shares.sum())


@functools.lru_cache(64)  # asked for anew whenever weights change
def name_hashes(names: tuple[str, ...]) -> np.ndarray:
    """Hashes each name: [tasks] uint64."""
    return np.array([_name_hash(name) for name in names], np.uint64)


def _name_hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


class _Phase(NamedTuple):
    """Consecutive blocks with constant shares. The last block is cut where the phase ends."""

    block: int  # the first of them
    length: int  # nominal draws
    before: np.ndarray  # [tasks] int64, draws of each task since the start
    shares: np.ndarray  # [tasks] uint64


class MixtureSampler:
    """Draws examples from tasks in given shares, each task shuffled anew every epoch.

    Args:
        sizes: [tasks] number of examples of each task.
        weights: [tasks] shares of the draws, normalised here; a task of weight 0 is never drawn.
        seed: another seed gives another order.
        exhausted: policy for a task whose epochs are over.
        epochs: after how many epochs ``drop`` and ``stop`` take a task for exhausted.
        start: state at the beginning of this part of the run; ``None`` for the run's beginning.
        names: [tasks] distinct names, from which each task's order follows; by default it follows from
            its place. A named task keeps its order when others are added or removed.

    Attributes:
        carried_over: [tasks] int64, draws that ``start`` carries over.
        total: number of draws; ``None`` where they never end.
        order_seed: seed of the order in which this part's tasks are shuffled.

    Raises:
        UserError: unusable weights, or a task with a positive weight and no examples.
    """

    def __init__(
        self,
        sizes: Sequence[int] | np.ndarray,
        weights: Sequence[float] | np.ndarray,
        seed: int,
        *,
        exhausted: Exhausted = "repeat",
        epochs: int = 1,
        start: SamplerStart | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        self.sizes = np.asarray(sizes, np.int64)
        self.shares = round_shares(weights)
        self.seed = int(seed)
        if self.sizes.shape != self.shares.shape:
            raise UserError(
                f"{self.sizes.size} sizes and {self.shares.size} weights were given; there must be as many of each."
            )
        if exhausted not in get_args(Exhausted):
            raise unknown("policy for exhausted tasks", str(exhausted), get_args(Exhausted))
        if epochs < 1:
            raise UserError(f"A task cannot be exhausted after {epochs} epochs. Give at least 1.")
        empty = np.flatnonzero((self.sizes <= 0) & (self.shares > 0))
        if empty.size:
            raise UserError(
                f"Task {empty[0]} of the mixture has no examples but a positive weight. Check its source, or give it the weight 0."
            )
        tasks = self.sizes.size
        self._name_hashes = np.arange(tasks) if names is None else name_hashes(tuple(names))
        self.exhausted = exhausted
        self.epochs = epochs
        self.start = start or SamplerStart(0, np.zeros(tasks, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))
        order = np.lexsort((self.start.carried_over_index, self.start.carried_over_task))
        self._carried_over_indices = np.asarray(self.start.carried_over_index, np.int64)[order]
        self.carried_over = np.bincount(self.start.carried_over_task, minlength=tasks).astype(np.int64)
        self._first_carried_over = np.cumsum(self.carried_over) - self.carried_over
        # Each part of a run is shuffled in its own way; the order inside a task's epoch stays the run's.
        self.order_seed = self.seed if self.start.part == 0 else int(fold_in(self.seed, _PART, self.start.part))
        self._offsets = fold_in(self.order_seed, _OFFSET, self._name_hashes) >> np.uint64(64 - SHARE_BITS)
        self._phases = [_Phase(0, _MAX_NOMINAL, np.zeros(tasks, np.int64), self.shares)]
        self._last_block: int | None = None
        if exhausted != "repeat":
            left = np.maximum(self.sizes * epochs - self.start.drawn + self.carried_over, 0)
            self._last_block = self._end_phases(left, stop=exhausted == "stop")
        self.total = None if self._last_block is None else self._first_of_block(self._last_block)
        self._block: tuple[int, int, Draws] | None = None

    def draws(self, start: int, count: int) -> Draws:
        """Returns the draws at positions ``start`` … ``start + count - 1``, fewer where the sequence ends.

        Args:
            start: position of the first, from 0.
            count: how many.
        """
        if start < 0 or count < 0:
            raise ValueError(f"start={start} and count={count} must not be negative")
        if self.total is not None:
            count = max(0, min(count, self.total - start))
        if not count:
            return Draws(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))
        block = self._block_of(start)
        parts: list[Draws] = []
        while count > 0:
            first, draws = self._draws_of_block(block)
            low = start - first
            part = Draws(*(column[low : low + count] for column in draws))
            parts.append(part)
            start, count = start + len(part.task), count - len(part.task)
            block += 1
        return parts[0] if len(parts) == 1 else Draws(*map(np.concatenate, zip(*parts, strict=True)))

    def example(self, task: np.ndarray, index: np.ndarray, epoch: np.ndarray) -> np.ndarray:
        """[n] int64, the example at 0-based ``index`` of the shuffled ``epoch`` of ``task``."""
        return permute(index, self.sizes[task], fold_in(self.seed, _EPOCH, self._name_hashes[task], epoch))

    def counts(self, position: int) -> np.ndarray:
        """[tasks] int64, the number of draws of each task among the first ``position`` of this part."""
        if self.total is not None and self._last_block is not None and position >= self.total:
            return self._nominal_counts(self._last_block)
        block = self._block_of(position)
        first, draws = self._draws_of_block(block)
        inside = np.bincount(draws.task[: position - first], minlength=self.sizes.size)
        return self._nominal_counts(block) + inside

    def draw_indices(self, task: np.ndarray, count: np.ndarray) -> np.ndarray:
        """[n] int64, the draw index over the whole run of each task's ``count``-th draw (from 0) of this part."""
        draw_index = self.start.drawn[task] + count - self.carried_over[task]
        carried_over = count < self.carried_over[task]
        if carried_over.any():
            draw_index[carried_over] = self._carried_over_indices[
                (self._first_carried_over[task] + count)[carried_over]
            ]
        return draw_index

    # --- shares in force ---------------------------------------------------------------------------------------------

    def phase(self, position: int) -> int:
        """0-based index of the phase of constant shares that the draw at ``position`` belongs to."""
        later = (int(phase.before.sum()) <= position for phase in self._phases[1:])
        return sum(later)

    def shares_at(self, position: int) -> np.ndarray:
        """[tasks] float64, the shares in force at ``position``; they sum to 1.

        They change where an exhausted task is dropped.
        """
        return _normalized(self._phases[self.phase(position)].shares)

    def expected(self, count: int) -> np.ndarray:
        """[tasks] float64, the expected draws of each task among the first ``count``; sums to ``count``."""
        starts = [int(phase.before.sum()) for phase in self._phases]
        ends = [*starts[1:], max(count, starts[-1])]
        return np.sum(
            [
                max(0, min(count, end) - start) * _normalized(phase.shares)
                for phase, start, end in zip(self._phases, starts, ends, strict=True)
            ],
            axis=0,
        )

    # --- arithmetic ----------------------------------------------------------------------------------------------------

    def _end_phases(self, limit: np.ndarray, *, stop: bool) -> int:
        """Cuts the sequence into phases where tasks reach their ``limit`` [tasks] draws.

        With ``stop`` the first task that does so ends it; else the last one.

        Returns:
            The block after the last.
        """
        while True:
            block, _, before, shares = self._phases.pop()
            active = np.flatnonzero(shares)
            left = (limit - before)[active]
            # Nominal draws until a task has its last one: about, and exactly for those that may be the first.
            about = (left - self._offsets[active] / 2.0**SHARE_BITS) / (shares[active] / 2.0**SHARE_BITS)
            first = np.flatnonzero(about <= about.min() * (1 + 1e-9) + 1)
            length = max(0, min(self._nominal_until(active[task], left[task], shares) for task in first))
            self._phases.append(_Phase(block, length, before, shares))
            end = block - (-length // BLOCK)
            counts = self._nominal_counts(end, self._phases[-1])
            remaining = np.where(counts < limit, shares, 0)
            if stop or not remaining.any():
                return end
            rest = round_shares(remaining.astype(np.float64))
            if end == block:  # nothing could be drawn
                self._phases.pop()
            self._phases.append(_Phase(end, _MAX_NOMINAL, counts, rest))

    def _nominal_until(self, task: int, count: int, shares: np.ndarray) -> int:
        """Number of nominal draws of a phase after which ``task`` has ``count`` draws in it."""
        if count <= 0:
            return 0
        return -(-((int(count) << SHARE_BITS) - int(self._offsets[task])) // int(shares[task]))

    def _phase_of(self, block: int) -> _Phase:
        low, high = 0, len(self._phases)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._phases[middle].block <= block else (low, middle)
        return self._phases[low]

    def _nominal_counts(self, block: int, phase: _Phase | None = None) -> np.ndarray:
        """[tasks] int64, the draws of each task before a block: C_t of its nominal draws."""
        phase = phase or self._phase_of(block)
        nominal = min((block - phase.block) * BLOCK, phase.length)
        if nominal >= _MAX_NOMINAL:
            raise ValueError(f"position {nominal} is beyond the last one, {_MAX_NOMINAL}")
        # nominal · share has up to 86 bits, so it is added up in two halves.
        high = np.uint64(nominal >> _LOW_BITS) * phase.shares
        low = np.uint64(nominal & ((1 << _LOW_BITS) - 1)) * phase.shares
        kept = SHARE_BITS - _LOW_BITS
        rest = (high & np.uint64((1 << kept) - 1)) << np.uint64(_LOW_BITS)
        new = (high >> np.uint64(kept)) + ((rest + low + self._offsets) >> np.uint64(SHARE_BITS))
        return phase.before + new.astype(np.int64)

    def _first_of_block(self, block: int) -> int:
        return int(self._nominal_counts(block).sum())

    def _block_of(self, position: int) -> int:
        """The block that holds an existing position."""
        cached = self._block  # read once: another thread may replace it
        if cached is not None:
            block, first, draws = cached
            if 0 <= position - first < len(draws.task):
                return block
        tasks = self.sizes.size
        if self._last_block is None:
            # Each task's rounding moves a block by less than one draw.
            low, high = max(0, (position - tasks) // BLOCK), (position + tasks) // BLOCK + 1
        else:
            low, high = 0, self._last_block
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._first_of_block(middle) <= position else (low, middle)
        return low

    def _draws_of_block(self, block: int) -> tuple[int, Draws]:
        """The position of the first draw of a block, and the block's draws."""
        cached = self._block
        if cached is not None and cached[0] == block:
            return cached[1], cached[2]
        before = self._nominal_counts(block)
        counts = self._nominal_counts(block + 1) - before
        total = int(counts.sum())
        # Only the tasks are shuffled; the draws of one task keep their order, so that its first k
        # draws are the same k examples wherever a block is cut.
        labels = np.repeat(np.arange(self.sizes.size), counts)
        order = np.argsort(fold_in(self.order_seed, _SHUFFLE, block, np.arange(total)), kind="stable")
        task = labels[order]
        count = np.empty(total, np.int64)
        count[np.argsort(task, kind="stable")] = np.arange(total) + (before - (np.cumsum(counts) - counts))[labels]
        draw_index = self.draw_indices(task, count)
        epoch, inside = np.divmod(draw_index, self.sizes[task])
        draws = Draws(task.astype(np.int32), self.example(task, inside, epoch), epoch.astype(np.int32), draw_index)
        first = int(before.sum())
        self._block = (block, first, draws)
        return first, draws
