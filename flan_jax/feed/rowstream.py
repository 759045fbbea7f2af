"""The endless sequence of packed rows that a mixture is, before any token is read.

Draws are taken in pools of a fixed number, and each pool is packed by itself. A row is therefore
found by two integers, its pool and its place in it, and a pool depends on nothing before it.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flan_jax.errors import UserError
from flan_jax.feed.corpus import Corpus
from flan_jax.feed.packing import Rows, one_per_row, pack
from flan_jax.feed.permute import key
from flan_jax.feed.sampler import BLOCK, MixtureSampler
from flan_jax.feed.store import StoredTask

POOL = 4096
"""Draws that are packed together: on instruction data within 1% of the rows that packing all at once needs."""

# What a key is for; the sampler's own purposes are 1 to 3.
_ROW_ORDER = 16
_PREFIX = 1 << 20


class Pool(NamedTuple):
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


class Plan(NamedTuple):
    """The examples of some consecutive rows, row by row.

    Attributes:
        row: [n] int64, counted from the first of these rows.
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

    def part(self, first: int, last: int) -> "Plan":
        """Rows ``first`` … ``last - 1``, counted from the first of them."""
        low, high = np.searchsorted(self.row, [first, last])
        cut = Plan(*(column[low:high] for column in self))
        return cut._replace(row=cut.row - first)


class RowStream:
    """Rows by position. It holds no position itself: every method is a function of its arguments.

    Args:
        tasks: what to draw from; a task of weight 0 is never drawn.
        weights: [tasks] shares of the draws.
        seed: another seed gives another order.
        input_limit: encoder length of a row.
        target_limit: decoder length of a row.
        packed: ``False`` puts each example into a row of its own.

    Raises:
        UserError: unusable weights, or a task with an example that is longer than a row.
    """

    def __init__(
        self,
        tasks: Sequence[StoredTask],
        weights: Sequence[float] | np.ndarray,
        *,
        seed: int,
        input_limit: int,
        target_limit: int,
        packed: bool = True,
    ) -> None:
        if len(tasks) != len(weights):
            raise UserError(f"{len(tasks)} tasks and {len(weights)} weights were given; there must be as many of each.")
        for task, weight in zip(tasks, weights, strict=True):
            if weight > 0:
                _check_task(task, input_limit, target_limit)
        self.sampler = MixtureSampler([len(task) for task in tasks], weights, seed)
        self.corpus = Corpus(tasks)
        self.packed = packed
        self.input_limit = input_limit
        self.target_limit = target_limit
        self._pool: tuple[int, Pool] | None = None
        # Three small digests say which part of what the order depends on has changed.
        self.identity = {
            "tasks": _digest([(task.name, task.split, task.fingerprint, len(task)) for task in tasks]),
            "weights": _digest(self.sampler.shares.tolist(), seed),
            "layout": _digest(input_limit, target_limit, packed, POOL, BLOCK),
        }

    def pool(self, index: int) -> Pool:
        """The pool of that number, packed."""
        cached = self._pool  # read once: another thread may replace it
        if cached is not None and cached[0] == index:
            return cached[1]
        draws = self.sampler.draws(index * POOL, POOL)
        row_in_corpus = self.corpus.rows(draws.task, draws.example)
        input_lengths, target_lengths = self.corpus.lengths(row_in_corpus)
        if self.packed:
            rows = pack(input_lengths, target_lengths, input_limit=self.input_limit, target_limit=self.target_limit)
            # Packing leaves long examples first; a batch should not be told from another by that.
            rows = rows.reordered(
                np.argsort(key(self.sampler.seed, _ROW_ORDER, index, np.arange(len(rows))), kind="stable")
            )
        else:
            rows = one_per_row(POOL)
        result = Pool(draws.task, row_in_corpus, input_lengths, target_lengths, rows)
        self._pool = (index, result)
        return result

    def plan(self, pool: int, row: int, count: int) -> tuple[Plan, int, int]:
        """``count`` rows from a position on, and the position after them (pool, row)."""
        parts: list[Plan] = []
        done = 0
        while done < count:
            there = self.pool(pool)
            taken = min(count - done, len(there.rows) - row)
            starts = there.rows.starts[row : row + taken + 1]
            draws = there.rows.examples[starts[0] : starts[-1]]
            rows = np.repeat(np.arange(done, done + taken), np.diff(starts))
            parts.append(
                Plan(
                    rows,
                    there.task[draws],
                    there.row_in_corpus[draws],
                    there.input_lengths[draws],
                    there.target_lengths[draws],
                )
            )
            done, row = done + taken, row + taken
            if row == len(there.rows):
                pool, row = pool + 1, 0
        return (parts[0] if len(parts) == 1 else Plan(*map(np.concatenate, zip(*parts, strict=True)))), pool, row

    def position(self, rows: int) -> tuple[int, int]:
        """The position (pool, row) after the first ``rows`` rows, from lengths alone.

        Without packing this is one division. With it, every pool before the position is packed once.
        """
        if not self.packed:
            return divmod(rows, POOL)
        pool = 0
        while rows >= (size := len(self.pool(pool).rows)):
            rows -= size
            pool += 1
        return pool, rows

    def realised(self, pool: int, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What was drawn before a position: examples, input tokens and target tokens, [tasks] int64 each.

        Recomputed from the position alone: whole epochs count as the task's totals, and of the last
        one the lengths of the examples drawn are added up.
        """
        examples = self.sampler.counts(pool * POOL)
        inputs, targets = self._tokens_of_first(examples)
        if row:
            plan, _, _ = self.plan(pool, 0, row)
            examples = examples + np.bincount(plan.task, minlength=len(examples))
            inputs = inputs + _sums(plan.task, plan.input_lengths, len(inputs))
            targets = targets + _sums(plan.task, plan.target_lengths, len(targets))
        return examples, inputs, targets

    def _tokens_of_first(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of the first ``draws[t]`` draws of every task t."""
        sizes = np.maximum(self.sampler.sizes, 1)
        epochs, partial = np.divmod(draws, sizes)
        inputs, targets = np.zeros(len(draws), np.int64), np.zeros(len(draws), np.int64)
        # Every epoch holds the same examples, so any one of them gives the total.
        of_an_epoch = np.where(epochs > 0, self.sampler.sizes, 0)
        for numbers, times in ((of_an_epoch, epochs), (partial, np.ones_like(epochs))):
            for task, number in _slices(numbers):
                rows = self.corpus.rows(task, self.sampler.example(task, number, epochs[task]))
                for total, lengths in zip((inputs, targets), self.corpus.lengths(rows), strict=True):
                    total += _sums(task, lengths, len(draws)) * times
        return inputs, targets


def _slices(counts: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(task, 0 … counts[task] − 1) for every task, cut into pieces of bounded size."""
    ends = np.cumsum(counts)
    pieces = []
    for low in range(0, int(ends[-1]), _PREFIX):
        flat = np.arange(low, min(low + _PREFIX, int(ends[-1])))
        task = np.searchsorted(ends, flat, side="right")
        pieces.append((task, flat - (ends - counts)[task]))
    return pieces


def _sums(task: np.ndarray, values: np.ndarray, tasks: int) -> np.ndarray:
    return np.bincount(task, weights=values, minlength=tasks).astype(np.int64)


def _check_task(task: StoredTask, input_limit: int, target_limit: int) -> None:
    for side, limit in (("input", input_limit), ("target", target_limit)):
        longest = task.manifest[f"max_{side}_length"]
        if longest > limit:
            raise UserError(
                f"Task {task.name!r} has {side}s of up to {longest} tokens, longer than the {limit} of a row. "
                f"Raise TASK_FEATURE_LENGTHS['{side}s'], or prepare the task again with that length."
            )


def _digest(*parts: object) -> int:
    """48 bits of what the parts print as, so that every JSON reader keeps the number whole."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=6).digest(), "little")
