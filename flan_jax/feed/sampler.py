"""What example comes at position k of a run: a pure function of seed, weights and sizes.

Task t is to be drawn n·p_t times among n draws. Of the first n *nominal* draws it gets

    C_t(n) = floor(n · p_t + u_t),      u_t in [0, 1) fixed by (seed, t),

so at the end of every block of nominal draws each task is within one draw of its share, where
independent draws would be off by √n. Inside a block the tasks are shuffled. A block of B nominal
draws holds B give or take a few actual ones, because each task rounds for itself.

The k-th draw of a task of n examples is its example ``permutation(k // n)[k mod n]``: a task that
is exhausted starts its next epoch, in a new order.

Seeking is two closed forms over the tasks, whatever the distance.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flan_jax.errors import UserError
from flan_jax.feed.permute import key, permute

BLOCK = 4096
"""Nominal draws in a block, within which shares hold and draws are shuffled."""

# Shares are rounded to this many fractional bits: all further arithmetic is exact, in integers.
SHARE_BITS = 40
_LOW_BITS = 22
_MAX_NOMINAL = 1 << (24 + _LOW_BITS)
# What a key is for: the three random choices never share one.
_OFFSET, _SHUFFLE, _EPOCH = 1, 2, 3


class Draws(NamedTuple):
    """Consecutive draws, [count] each: the task, the example in it, and which epoch of the task it is."""

    task: np.ndarray
    example: np.ndarray
    epoch: np.ndarray


def round_shares(weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """Weights as [tasks] uint64 in units of 2**-40, summing to 2**40 exactly (largest remainders).

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


class MixtureSampler:
    """Draws examples from tasks in given shares, each task shuffled anew every epoch.

    Args:
        sizes: [tasks] number of examples of each task.
        weights: [tasks] shares of the draws, normalised here; a task of weight 0 is never drawn.
        seed: another seed gives another order.

    Raises:
        UserError: unusable weights, or a task with a positive weight and no examples.
    """

    def __init__(self, sizes: Sequence[int] | np.ndarray, weights: Sequence[float] | np.ndarray, seed: int) -> None:
        self.sizes = np.asarray(sizes, np.int64)
        self.shares = round_shares(weights)
        self.seed = int(seed)
        if self.sizes.shape != self.shares.shape:
            raise UserError(
                f"{self.sizes.size} sizes and {self.shares.size} weights were given; there must be as many of each."
            )
        empty = np.flatnonzero((self.sizes <= 0) & (self.shares > 0))
        if empty.size:
            raise UserError(
                f"Task {empty[0]} of the mixture has no examples but a positive weight. Check its source, or give it the weight 0."
            )
        self._offsets = key(self.seed, _OFFSET, np.arange(self.sizes.size)) >> np.uint64(64 - SHARE_BITS)
        self._block: tuple[int, int, Draws] | None = None

    def draws(self, start: int, count: int) -> Draws:
        """The draws at positions ``start`` … ``start + count - 1``.

        Args:
            start: position of the first, from 0.
            count: how many.

        Returns:
            task [count] int32, example [count] int64, epoch [count] int32.
        """
        if start < 0 or count < 0:
            raise ValueError(f"start={start} and count={count} must not be negative")
        block = self._block_of(start)
        parts: list[Draws] = []
        while count > 0:
            first, draws = self._draws_of_block(block)
            low = start - first
            part = Draws(*(column[low : low + count] for column in draws))
            parts.append(part)
            start, count = start + len(part.task), count - len(part.task)
            block += 1
        if not parts:
            return Draws(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int32))
        return parts[0] if len(parts) == 1 else Draws(*map(np.concatenate, zip(*parts, strict=True)))

    def example(self, task: np.ndarray, number: np.ndarray, epoch: np.ndarray) -> np.ndarray:
        """[n] int64, the example of ``task`` that is drawn as ``number`` (from 0) in ``epoch``."""
        return permute(number, self.sizes[task], key(self.seed, _EPOCH, task, epoch))

    def counts(self, position: int) -> np.ndarray:
        """[tasks] int64, how often each task occurs among the first ``position`` draws."""
        block = self._block_of(position)
        first, draws = self._draws_of_block(block)
        inside = np.bincount(draws.task[: position - first], minlength=self.sizes.size)
        return self._nominal_counts(block * BLOCK) + inside

    def _nominal_counts(self, nominal: int) -> np.ndarray:
        """C_t(nominal), [tasks] int64."""
        if nominal >= _MAX_NOMINAL:
            raise ValueError(f"position {nominal} is beyond the last one, {_MAX_NOMINAL}")
        # nominal · share has up to 86 bits, so it is added up in two halves.
        high = np.uint64(nominal >> _LOW_BITS) * self.shares
        low = np.uint64(nominal & ((1 << _LOW_BITS) - 1)) * self.shares
        kept = SHARE_BITS - _LOW_BITS
        rest = (high & np.uint64((1 << kept) - 1)) << np.uint64(_LOW_BITS)
        return ((high >> np.uint64(kept)) + ((rest + low + self._offsets) >> np.uint64(SHARE_BITS))).astype(np.int64)

    def _first_of_block(self, block: int) -> int:
        return int(self._nominal_counts(block * BLOCK).sum())

    def _block_of(self, position: int) -> int:
        """The block that holds a position: each task's rounding moves a block by less than one draw."""
        cached = self._block  # read once: another thread may replace it
        if cached is not None:
            block, first, draws = cached
            if 0 <= position - first < len(draws.task):
                return block
        tasks = self.sizes.size
        low, high = max(0, (position - tasks) // BLOCK), (position + tasks) // BLOCK + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._first_of_block(middle) <= position else (low, middle)
        return low

    def _draws_of_block(self, block: int) -> tuple[int, Draws]:
        """The position of the first draw of a block, and the block's draws."""
        cached = self._block
        if cached is not None and cached[0] == block:
            return cached[1], cached[2]
        before = self._nominal_counts(block * BLOCK)
        counts = self._nominal_counts((block + 1) * BLOCK) - before
        total = int(counts.sum())
        # Only the tasks are shuffled; the draws of one task keep their order, so that its first k
        # draws are the same k examples wherever a block is cut.
        labels = np.repeat(np.arange(self.sizes.size), counts)
        order = np.argsort(key(self.seed, _SHUFFLE, block, np.arange(total)), kind="stable")
        task = labels[order]
        number = np.empty(total, np.int64)
        number[np.argsort(task, kind="stable")] = np.arange(total) + (before - (np.cumsum(counts) - counts))[labels]
        epoch, inside = np.divmod(number, self.sizes[task])
        draws = Draws(task.astype(np.int32), self.example(task, inside, epoch), epoch.astype(np.int32))
        first = int(before.sum())
        self._block = (block, first, draws)
        return first, draws
