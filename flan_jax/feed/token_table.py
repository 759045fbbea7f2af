"""Stored tasks as one table of token rows: a batch over a thousand tasks is a few array operations."""

from collections.abc import Sequence

import numpy as np

from flan_jax.errors import UserError
from flan_jax.store.arrow import ChunkedTokens
from flan_jax.store.extras import EXTRA_PREFIX, LOSS_MASK, has_loss_mask
from flan_jax.store.manifest import REBUILD_HINT
from flan_jax.store.store import StoredTask

# Reaching one of thousands of small mapped arrays costs about as much as the tokens of an example: a
# handful of cache misses. Chunks of so few bytes are therefore copied into one array, up to so many in all.
_SMALL_BYTES = 1 << 18
_COPIED_BYTES = 1 << 28


class _RaggedColumn:
    """One ragged column: the tokens of one side of every example of every task."""

    def __init__(self, sides: Sequence[ChunkedTokens]) -> None:
        chunks = [values for side in sides for values in side.values]
        # A chunk of r rows has r + 1 offsets, so row i of chunk c stands at i + c once all are joined.
        self._offsets = np.concatenate(
            [np.zeros(0, np.int32), *(offsets for side in sides for offsets in side.offsets)]
        )
        sizes = np.array([values.nbytes for values in chunks], np.int64)
        small = (sizes <= _SMALL_BYTES) & (np.cumsum(np.where(sizes <= _SMALL_BYTES, sizes, 0)) <= _COPIED_BYTES)
        small &= np.array([values.dtype == chunks[0].dtype for values in chunks], bool)
        joined = [values for values, is_small in zip(chunks, small.tolist(), strict=True) if is_small]
        lengths = np.array([len(values) for values in chunks], np.int64)
        # Chunk c is arrays[which[c]] from first[c] on.
        self._arrays = [np.concatenate(joined)] if joined else [np.zeros(0, np.uint8)]
        self._arrays += [values for values, is_small in zip(chunks, small.tolist(), strict=True) if not is_small]
        self._array_of_chunk = np.where(small, 0, np.cumsum(~small))
        self._first = np.where(small, np.cumsum(np.where(small, lengths, 0)) - lengths, 0)

    def lengths(self, rows: np.ndarray, chunks: np.ndarray) -> np.ndarray:
        slots = rows + chunks
        return self._offsets[slots + 1] - self._offsets[slots]

    def tokens(self, rows: np.ndarray, chunks: np.ndarray) -> np.ndarray:
        slots = rows + chunks
        first = self._first[chunks]
        starts, ends = (first + self._offsets[slots]).tolist(), (first + self._offsets[slots + 1]).tolist()
        arrays = self._arrays
        if len(arrays) == 1:
            joined = arrays[0]
            views = [joined[start:end] for start, end in zip(starts, ends, strict=True)]
        else:
            which = self._array_of_chunk[chunks].tolist()
            views = [arrays[index][start:end] for index, start, end in zip(which, starts, ends, strict=True)]
        return np.concatenate([np.zeros(0, np.uint8), *views]).astype(np.int32)


class _LossMasks:
    """Loss masks of the tasks that have them, as a table of their own.

    Args:
        tasks: all tasks.
        has: [tasks] which of them have masks; at least one.
        bases: [tasks] the first row of each task in the table of all tasks.

    Raises:
        UserError: a mask that is not as long as its target.
    """

    def __init__(self, tasks: Sequence[StoredTask], has: np.ndarray, bases: np.ndarray) -> None:
        masked = [task for task, own in zip(tasks, has.tolist(), strict=True) if own]
        sides = [task.tokens.side(EXTRA_PREFIX + LOSS_MASK) for task in masked]
        for task, side in zip(masked, sides, strict=True):
            if not np.array_equal(side.lengths(), task.target_lengths):
                raise UserError(
                    f"Task {task.name!r}, split {task.split!r} has loss masks that are not as long as their targets. {REBUILD_HINT}"
                )
        self._has = has
        sizes = np.where(has, [len(task) for task in tasks], 0)
        self._shift = np.cumsum(sizes) - sizes - bases  # from a row of all tasks to a row here
        chunk_rows = np.concatenate([np.diff(side.starts) for side in sides])
        self._chunk_starts = np.cumsum(chunk_rows) - chunk_rows
        self._side = _RaggedColumn(sides)

    def weights(self, rows: np.ndarray, task: np.ndarray, target_lengths: np.ndarray) -> np.ndarray | None:
        own = self._has[task]
        if not own.any():
            return None
        weights = np.ones(int(target_lengths.sum()), np.float32)
        there = rows[own] + self._shift[task[own]]
        chunks = np.searchsorted(self._chunk_starts, there, side="right") - 1
        weights[np.repeat(own, target_lengths)] = self._side.tokens(there, chunks) != 0
        return weights


class TokenTable:
    """Examples of several tasks under one row number: first those of task 0, then those of task 1, ….

    Token ids of large tasks stay in the mapped files until they are gathered; those of small ones are
    copied together. Of the offsets, 4 bytes an example and side are copied.

    Args:
        tasks: at least one.
    """

    def __init__(self, tasks: Sequence[StoredTask]) -> None:
        self.sizes = np.array([len(task) for task in tasks], np.int64)
        self.bases = np.cumsum(self.sizes) - self.sizes
        sides = [task.tokens for task in tasks]
        chunk_rows = [np.diff(side.starts) for side in sides]
        self._chunk_starts = np.cumsum(np.concatenate(chunk_rows)) - np.concatenate(chunk_rows)
        self._inputs = _RaggedColumn([side.inputs for side in sides])
        self._targets = _RaggedColumn([side.targets for side in sides])
        has_mask = np.array([has_loss_mask(task.manifest, f"Task {task.name!r}") for task in tasks], bool)
        self._masks = _LossMasks(tasks, has_mask, self.bases) if has_mask.any() else None

    def rows(self, task: np.ndarray, example: np.ndarray) -> np.ndarray:
        """[n] int64, the row of each example in this table."""
        return self.bases[task] + example

    def lengths(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """([n], [n]) int32, the lengths of inputs and targets."""
        chunks = self._chunks(rows)
        return self._inputs.lengths(rows, chunks), self._targets.lengths(rows, chunks)

    def tokens(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gathers the joined inputs and the joined targets of the rows, in their order, int32."""
        chunks = self._chunks(rows)
        return self._inputs.tokens(rows, chunks), self._targets.tokens(rows, chunks)

    def target_weights(self, rows: np.ndarray, task: np.ndarray, target_lengths: np.ndarray) -> np.ndarray | None:
        """Gathers the loss weights of the joined targets of the rows, in their order.

        Args:
            rows: [n] of this table.
            task: [n] the task of each.
            target_lengths: [n].

        Returns:
            [sum of target_lengths] float32, 0 where a task's loss mask is 0, else 1; ``None`` where
            none of these examples has a mask.
        """
        return None if self._masks is None else self._masks.weights(rows, task, target_lengths)

    def _chunks(self, rows: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._chunk_starts, rows, side="right") - 1
