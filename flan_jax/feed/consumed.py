"""What was handed out before a row, recomputed from the row's number alone."""

import dataclasses

import numpy as np

from flan_jax.feed.packed_chunks import POOL
from flan_jax.feed.packed_row_index import PackedRowIndex
from flan_jax.feed.sampler import MixtureSampler
from flan_jax.feed.token_table import TokenTable

# Examples whose lengths are looked up at a time.
_PIECE = 1 << 20


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Consumed:
    """What was drawn and handed out before a row.

    Attributes:
        drawn: [tasks] int64, draws of each task over the whole run, those not handed out among them.
        owed_task: [n] int32, draws that were made and not handed out, by task.
        owed_number: [n] int64, their numbers.
        examples: [tasks] int64, examples handed out in this part of the run.
        input_tokens: [tasks] int64, as above.
        target_tokens: [tasks] int64, as above.
    """

    drawn: np.ndarray
    owed_task: np.ndarray
    owed_number: np.ndarray
    examples: np.ndarray
    input_tokens: np.ndarray
    target_tokens: np.ndarray


def handed_out(stream: PackedRowIndex, row: int) -> Consumed:
    """What ``stream`` handed out before a row.

    Whole epochs count as the task's totals, and of the last one the lengths of the examples drawn
    are added up.
    """
    sampler = stream.sampler
    begun, places = stream.begun(row)
    count = sampler.counts(begun * POOL)
    tokens = _tokens_of_first(sampler, stream.corpus, count)
    owed = stream.pools.plan(np.zeros(len(places.row), np.int64), places)
    still_task, still_number = _owed_still(sampler, count)
    tasks = len(count)
    return Consumed(
        drawn=sampler.start.drawn + np.maximum(0, count - sampler.owed),
        owed_task=np.concatenate([owed.task, still_task]),
        owed_number=np.concatenate([stream.pools.numbers(places), still_number]),
        examples=count - np.bincount(owed.task, minlength=tasks),
        input_tokens=tokens[0] - _sums(owed.task, owed.input_lengths, tasks),
        target_tokens=tokens[1] - _sums(owed.task, owed.target_lengths, tasks),
    )


def _owed_still(sampler: MixtureSampler, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What this part was owed at its start and has not drawn: tasks and numbers."""
    task, place = _ranges(np.maximum(sampler.owed - count, 0))
    return task.astype(np.int32), sampler.numbers(task, place + count[task])


def _tokens_of_first(sampler: MixtureSampler, corpus: TokenTable, count: np.ndarray) -> np.ndarray:
    """[2, tasks] int64, the tokens of the first ``count[t]`` draws of every task t in this part."""
    from_owed = np.minimum(count, sampler.owed)
    task, place = _ranges(from_owed)
    number = sampler.numbers(task, place)
    fresh = sampler.start.drawn + count - from_owed
    return (
        _tokens(sampler, corpus, task, number)
        + _tokens_below(sampler, corpus, fresh)
        - _tokens_below(sampler, corpus, sampler.start.drawn)
    )


def _tokens_below(sampler: MixtureSampler, corpus: TokenTable, count: np.ndarray) -> np.ndarray:
    """[2, tasks] int64, the tokens of the draws that are numbered below ``count[t]``, by task."""
    totals = np.zeros((2, len(count)), np.int64)
    epochs, partial = np.divmod(count, np.maximum(sampler.sizes, 1))
    # Every epoch holds the same examples, so the first gives the total of any.
    whole = np.where(epochs > 0, sampler.sizes, 0)
    for counts, first, times in (
        (whole, np.zeros_like(epochs), epochs),
        (partial, epochs * sampler.sizes, np.ones_like(epochs)),
    ):
        ends = np.cumsum(counts)
        for low in range(0, int(ends[-1]), _PIECE):
            flat = np.arange(low, min(low + _PIECE, int(ends[-1])))
            task = np.searchsorted(ends, flat, side="right")
            number = flat - (ends - counts)[task] + first[task]
            totals += _tokens(sampler, corpus, task, number) * times
    return totals


def _tokens(sampler: MixtureSampler, corpus: TokenTable, task: np.ndarray, number: np.ndarray) -> np.ndarray:
    """[2, tasks] int64, the tokens of single draws, by task."""
    epoch, inside = np.divmod(number, sampler.sizes[task])
    rows = corpus.rows(task, sampler.example(task, inside, epoch))
    return np.stack([_sums(task, lengths, len(sampler.sizes)) for lengths in corpus.lengths(rows)])


def _ranges(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(t, 0), …, (t, counts[t] − 1) for every t, as two arrays."""
    task = np.repeat(np.arange(len(counts)), counts)
    return task, np.arange(len(task)) - np.repeat(np.cumsum(counts) - counts, counts)


def _sums(task: np.ndarray, values: np.ndarray, tasks: int) -> np.ndarray:
    return np.bincount(task, weights=values, minlength=tasks).astype(np.int64)
