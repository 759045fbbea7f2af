"""Batches of evaluation examples by length, in few fixed shapes: every new shape is compiled once more."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flan_jax.eval.decoding.shared_prompts import shared_batches

MAX_BUCKETS = 3
Pair = tuple[int, tuple[int, ...]]
"""The row of a prompt in its batch, and token ids that follow it."""
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
    for members, length in _buckets(lengths, batch_size, limit):
        for start in range(0, len(members), batch_size):
            yield EvalBatch(members[start : start + batch_size], length)


def _buckets(lengths: Sequence[int], batch_size: int, limit: int | None) -> Iterator[EvalBatch]:
    """Yields the examples of each bucket, however many."""
    buckets = bucket_lengths(lengths, batch_size, limit=limit)
    member_of = np.searchsorted(buckets, lengths)
    for bucket in reversed(range(len(buckets))):
        yield EvalBatch(np.flatnonzero(member_of == bucket), buckets[bucket])


class PlannedBatch(NamedTuple):
    """Examples that are computed together, and the shapes they are computed in.

    Attributes:
        members: indices of the examples.
        length: the length that their prompts are padded to.
        longest: the most tokens that follow a prompt.
        widths: the lengths that what follows a prompt is padded to, ascending.
        shared: tokens that all of the prompts begin with and that are computed once.
    """

    members: list[int]
    length: int
    longest: int
    widths: tuple[int, ...]
    shared: int = 0


def plan(
    prompts: Sequence[int],
    follow: Sequence[Sequence[int]],
    rows: int,
    *,
    positions: int | None = None,
    shareable: Sequence[np.ndarray] | None = None,
) -> list[PlannedBatch]:
    """Plans the batches of all examples whose prompt leaves room for what follows it.

    Args:
        prompts: tokens of each prompt.
        follow: tokens of each text that follows a prompt, of every example.
        rows: of a batch.
        positions: the most tokens of a sequence; ``None`` where nothing limits them.
        shareable: token ids of the prompts, of which those that begin alike are put together; ``None`` keeps their order.
    """
    planned = []
    for group, longest in _groups(prompts, [max(own, default=0) for own in follow], positions):
        # Options are a few tokens as a rule, so a rounded length would be mostly padding.
        widths = bucket_lengths([count for index in group for count in follow[index]], rows, most=2, step=1)
        limit = None if positions is None else positions - longest
        # An encoder has to read something, be it padding, before a target that follows nothing.
        lengths = [max(1, prompts[index]) for index in group]
        if shareable is None:
            for members, length in batches(lengths, rows, limit=limit):
                planned.append(PlannedBatch([group[member] for member in members], length, longest, widths))
            continue
        for members, length in _buckets(lengths, rows, limit):
            for chosen, shared in shared_batches(shareable, [group[member] for member in members], length, rows):
                planned.append(PlannedBatch(chosen, length, longest, widths, shared))
    return planned


def has_room(prompt: int, longest: int, positions: int | None) -> bool:
    """Tells whether ``longest`` tokens fit behind a prompt."""
    return positions is None or prompt + longest <= positions


def _groups(prompts: Sequence[int], longest: Sequence[int], positions: int | None) -> Iterator[tuple[list[int], int]]:
    """Yields (indices, the most that follows) of examples that fit together.

    As a rule that is all of them. A prompt that leaves room for its own options but not for the longest of all is
    computed with others of as long options.
    """
    most = max(longest, default=0)
    together = [index for index, prompt in enumerate(prompts) if has_room(prompt, most, positions)]
    if together:
        yield together, most
    tight: dict[int, list[int]] = {}
    for index, (prompt, own) in enumerate(zip(prompts, longest, strict=True)):
        if not has_room(prompt, most, positions) and has_room(prompt, own, positions):
            tight.setdefault(own, []).append(index)
    for own, members in sorted(tight.items(), reverse=True):
        yield members, own


def spread(loads: Sequence[int], rows: int, parts: int) -> list[int]:
    """Deals the members of a batch out to the parts that its rows are computed in, so that all have about as much to do.

    The heaviest is dealt first, each to the part that has least so far (Graham 1969, longest processing time first).

    >>> spread([1, 4, 1, 2], rows=4, parts=2)
    [3, 0, 1, 2]

    Args:
        loads: work of each member, such as the number of its options.
        rows: of the batch; at least one a member.
        parts: equal stretches of the rows; must divide them.

    Returns:
        The row of each member.
    """
    if parts == 1:
        return list(range(len(loads)))
    room = rows // parts
    taken, work = [0] * parts, [0] * parts
    places = [0] * len(loads)
    for member in sorted(range(len(loads)), key=lambda index: -loads[index]):
        part = min((part for part in range(parts) if taken[part] < room), key=lambda part: (work[part], taken[part]))
        places[member] = part * room + taken[part]
        taken[part] += 1
        work[part] += loads[member]
    return places


def pad_rows(rows: Sequence[Sequence[int] | np.ndarray], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pads rows of ids to one int32 array of ``shape``, 0 behind each, and their lengths int32 ``[shape[0]]``.

    Rows that are not given have length 0.
    """
    return pad_rows_at(range(len(rows)), rows, shape)


def pad_rows_at(
    places: Sequence[int], rows: Sequence[Sequence[int] | np.ndarray], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Pads rows of ids as ``pad_rows`` does, each at a place of its own; ``places`` of the array are theirs."""
    ids = np.zeros(shape, np.int32)
    lengths = np.zeros(shape[0], np.int32)
    for place, row in zip(places, rows, strict=True):
        ids[place, : len(row)] = row
        lengths[place] = len(row)
    return ids, lengths


def pair_batches(pairs: Sequence[Pair], size: int, parts: int) -> Iterator[tuple[list[Pair], list[int]]]:
    """Yields up to ``size`` pairs at a time with their places, each in the part of the places that holds its prompt's row.

    Args:
        pairs: (row of the prompt in its batch of ``size`` rows, token ids).
        size: prompts and pairs of a batch.
        parts: equal stretches of both; must divide them.
    """
    room = size // parts
    queues: list[list[Pair]] = [[] for _ in range(parts)]
    for pair in pairs:
        queues[pair[0] // room].append(pair)
    for start in range(0, max(map(len, queues)), room):
        chosen: list[Pair] = []
        places: list[int] = []
        for part, queue in enumerate(queues):
            own = queue[start : start + room]
            chosen += own
            places += range(part * room, part * room + len(own))
        yield chosen, places
