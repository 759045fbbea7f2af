"""Prompts that begin with the same tokens, such as the solved examples of a benchmark's task: put into batches together.

A batch of R rows of S tokens whose prompts share their first P is computed as P tokens once and R times S - P. Which
prompts make a batch is chosen so that the fewest tokens are computed, though some batches then have empty rows.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

# Lengths that are shared: each further one is a shape that is compiled, and costs as much as many tokens.
_LENGTHS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
# What sharing must save of a batch's tokens to be worth a compilation.
_WORTH = 0.1


class SharedBatch(NamedTuple):
    """Prompts that are computed together.

    Attributes:
        members: their indices.
        shared: tokens at their beginnings that are computed once; 0 where none are.
    """

    members: list[int]
    shared: int


def shared_length(common: int, shortest: int, length: int, rows: int) -> int:
    """Chooses how many of the tokens that prompts begin with alike are computed once; 0 where that saves little.

    Args:
        common: tokens that they begin with alike.
        shortest: tokens of the shortest prompt.
        length: what they are padded to.
        rows: of the batch.

    >>> shared_length(100, 130, 140, rows=8), shared_length(100, 30, 140, rows=8), shared_length(20, 130, 140, rows=8)
    (96, 0, 0)
    """
    # A row's own tokens are the last of the padded length: its first must be among the shared ones.
    fit = [own for own in _LENGTHS if own <= common and length - own < shortest]
    return fit[-1] if fit and fit[-1] * (rows - 1) >= _WORTH * rows * length else 0


def shared_batches(
    prompts: Sequence[np.ndarray], members: Sequence[int], length: int, rows: int
) -> Iterator[SharedBatch]:
    """Yields all prompts in batches of at most ``rows``, neighbors in the order of their tokens, at the least cost.

    The order is that of a dictionary, in which prompts with a common beginning stand together; where they are cut into
    batches is found by dynamic programming over it.

    Args:
        prompts: token ids.
        members: indices of those that are computed, which fit into ``length``.
        length: what they are padded to.
        rows: of a batch, computed whether a prompt stands in it or not.
    """
    order = sorted(members, key=lambda index: prompts[index].astype(">i4").tobytes())
    alike = [_common(prompts[one], prompts[other]) for one, other in itertools.pairwise(order)]
    sizes = [len(prompts[index]) for index in order]
    # best[n]: the least tokens for the first n prompts, and where their last batch begins and what it shares.
    best: list[tuple[int, int, int]] = [(0, 0, 0)]
    for stop in range(1, len(order) + 1):
        common = shortest = sizes[stop - 1]
        found = None
        for start in range(stop - 1, max(stop - rows, 0) - 1, -1):
            if start < stop - 1:
                common, shortest = min(common, alike[start]), min(shortest, sizes[start])
            shared = shared_length(common, shortest, length, rows) if stop - start > 1 else 0
            cost = best[start][0] + shared + rows * (length - shared)
            if found is None or cost <= found[0]:
                found = (cost, start, shared)
            if common < _LENGTHS[0]:  # nothing is shared from here on, so that the largest batch is the best
                start = max(stop - rows, 0)
                if (cost := best[start][0] + rows * length) <= found[0]:
                    found = (cost, start, 0)
                break
        assert found is not None
        best.append(found)
    cuts, stop = [], len(order)
    while stop:
        _, start, shared = best[stop]
        cuts.append(SharedBatch(order[start:stop], shared))
        stop = start
    yield from reversed(cuts)


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """Counts the tokens that two prompts begin with alike."""
    count = min(len(one), len(other))
    unlike = np.flatnonzero(one[:count] != other[:count])
    return int(unlike[0]) if len(unlike) else count
