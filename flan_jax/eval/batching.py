"""Batches of evaluation examples by length, in few fixed shapes: every new shape is compiled once more."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

MAX_BUCKETS = 3
# Input lengths are rounded up to this: a shape then serves the next set of examples more often.
_STEP = 8
# A further shape must save this share of the padded tokens to be worth its compilation.
_WORTH = 0.1


class EvalBatch(NamedTuple):
    """Examples that are computed together.

    Attributes:
        members: indices of the examples, at most the batch size.
        length: the bucket that all of them fit into.
    """

    members: np.ndarray
    length: int


def bucket_lengths(
    lengths: Sequence[int],
    batch_size: int,
    *,
    most: int = MAX_BUCKETS,
    step: int = _STEP,
    limit: int | None = None,
) -> tuple[int, ...]:
    """Chooses the lengths to pad to, ascending: those that compute the fewest padded tokens.

    At most ``most`` multiples of ``step``, or ``limit`` where a multiple would exceed it; one is at least as
    long as the longest example, which may not exceed it itself. A dynamic programme over the rounded lengths;
    a split is made only where it saves a tenth, as each bucket costs a compilation.

    >>> bucket_lengths([5] * 64 + [60] * 64, batch_size=64)
    (8, 64)
    """
    rounded = -(-np.asarray(lengths, np.int64) // step) * step
    edges, counts = np.unique(rounded if limit is None else np.minimum(rounded, limit), return_counts=True)
    cumulative = [0, *np.cumsum(counts).tolist()]
    size = len(edges)

    def cost(first: int, last: int) -> int:
        """Padded tokens of one bucket for the lengths ``edges[first:last]``."""
        return math.ceil((cumulative[last] - cumulative[first]) / batch_size) * batch_size * int(edges[last - 1])

    best: list[tuple[int, tuple[int, ...]]] = [(cost(0, last), (last,)) for last in range(1, size + 1)]
    chosen, spent = best[-1][1], best[-1][0]
    for _ in range(1, min(most, size)):
        best = [
            min(
                [
                    best[last - 1],
                    *((best[cut - 1][0] + cost(cut, last), (*best[cut - 1][1], last)) for cut in range(1, last)),
                ]
            )
            for last in range(1, size + 1)
        ]
        if best[-1][0] <= (1 - _WORTH) * spent:
            chosen, spent = best[-1][1], best[-1][0]
    return tuple(int(edges[last - 1]) for last in chosen)


def batches(lengths: Sequence[int], batch_size: int, *, limit: int | None = None) -> Iterator[EvalBatch]:
    """Yields batches of every example once, each with others of its bucket, long buckets first; none is padded beyond ``limit``.

    Long first: if memory is short, it shows at once, and the estimate of the time left errs upwards.
    """
    buckets = bucket_lengths(lengths, batch_size, limit=limit)
    member_of = np.searchsorted(buckets, lengths)
    for bucket in reversed(range(len(buckets))):
        members = np.flatnonzero(member_of == bucket)
        for start in range(0, len(members), batch_size):
            yield EvalBatch(members[start : start + batch_size], buckets[bucket])


def pad_rows(rows: Sequence[Sequence[int] | np.ndarray], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pads rows of ids to one int32 array of ``shape``, 0 behind each, and their lengths int32 ``[shape[0]]``.

    Rows that are not given have length 0.
    """
    ids = np.zeros(shape, np.int32)
    lengths = np.zeros(shape[0], np.int32)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        lengths[index] = len(row)
    return ids, lengths
