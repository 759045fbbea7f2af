"""Counts the examples and tokens consumed before a row, from the row's index alone."""

import dataclasses

import numpy as np

from flan_jax.feed.packed_chunks import CHUNK_DRAWS
from flan_jax.feed.packed_row_index import PackedRowIndex
from flan_jax.feed.sampler import MixtureSampler
from flan_jax.feed.token_table import TokenTable

# Examples whose lengths are looked up at a time, which bounds memory.
_LOOKUP_EXAMPLES = 1 << 20


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Consumed:
    """Draws and consumption before a row.

    Attributes:
        drawn: [tasks] int64, draws of each task over the whole run, including those carried over.
        carried_over_task: [n] int32, the task of each draw that was made but stands in no row before this one.
        carried_over_index: [n] int64, the 0-based draw count within its task of each of them.
        examples: [tasks] int64, examples consumed in this part of the run.
        input_tokens: [tasks] int64, as above.
        target_tokens: [tasks] int64, as above.
    """

    drawn: np.ndarray
    carried_over_task: np.ndarray
    carried_over_index: np.ndarray
    examples: np.ndarray
    input_tokens: np.ndarray
    target_tokens: np.ndarray


def consumed_before(row_index: PackedRowIndex, row: int, counted: np.ndarray | None = None) -> Consumed:
    """Counts what ``row_index`` has placed in the rows before ``row``.

    Whole epochs count as the task's totals; for the last, partial one the lengths of the examples
    drawn are added up.

    Args:
        row_index: of this part of the run.
        row: the first row after those that are counted.
        counted: [3, tasks] int64, examples, input tokens and target tokens of these rows, where they are known already:
            no length is looked up then.
    """
    sampler = row_index.sampler
    chunks, locations = row_index.chunks_begun(row)
    count = sampler.counts(chunks * CHUNK_DRAWS)
    carried_over = row_index.chunks.plan(np.zeros(len(locations.row), np.int64), locations)
    still_task, still_index = _still_carried_over(sampler, count)
    if counted is None:
        task, tasks = carried_over.task, len(count)
        tokens = _tokens_of_first(sampler, row_index.table, count)
        lengths = carried_over.input_lengths, carried_over.target_lengths
        left = [np.bincount(task, minlength=tasks), *(_sums(task, each, tasks) for each in lengths)]
        counted = np.stack([count, *tokens]) - np.stack(left)
    return Consumed(
        drawn=sampler.start.drawn + np.maximum(0, count - sampler.carried_over),
        carried_over_task=np.concatenate([carried_over.task, still_task]),
        carried_over_index=np.concatenate([row_index.chunks.draw_indices(locations), still_index]),
        examples=counted[0],
        input_tokens=counted[1],
        target_tokens=counted[2],
    )


def _still_carried_over(sampler: MixtureSampler, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tasks and draw indices that this part was to begin with and has not drawn yet."""
    task, rank = _ranges(np.maximum(sampler.carried_over - count, 0))
    return task.astype(np.int32), sampler.draw_indices(task, rank + count[task])


def _tokens_of_first(sampler: MixtureSampler, table: TokenTable, count: np.ndarray) -> np.ndarray:
    """[2, tasks] int64, the tokens of the first ``count[t]`` draws of every task t in this part."""
    from_carried_over = np.minimum(count, sampler.carried_over)
    task, rank = _ranges(from_carried_over)
    draw_index = sampler.draw_indices(task, rank)
    fresh = sampler.start.drawn + count - from_carried_over
    return (
        _tokens(sampler, table, task, draw_index)
        + _tokens_below(sampler, table, fresh)
        - _tokens_below(sampler, table, sampler.start.drawn)
    )


def _tokens_below(sampler: MixtureSampler, table: TokenTable, count: np.ndarray) -> np.ndarray:
    """[2, tasks] int64, the tokens of the draws of index below ``count[t]``, by task."""
    totals = np.zeros((2, len(count)), np.int64)
    epochs, partial = np.divmod(count, np.maximum(sampler.sizes, 1))
    # Every epoch holds the same examples, so the first gives the total of any.
    whole = np.where(epochs > 0, sampler.sizes, 0)
    for counts, first, times in (
        (whole, np.zeros_like(epochs), epochs),
        (partial, epochs * sampler.sizes, np.ones_like(epochs)),
    ):
        ends = np.cumsum(counts)
        for low in range(0, int(ends[-1]), _LOOKUP_EXAMPLES):
            flat = np.arange(low, min(low + _LOOKUP_EXAMPLES, int(ends[-1])))
            task = np.searchsorted(ends, flat, side="right")
            draw_index = flat - (ends - counts)[task] + first[task]
            totals += _tokens(sampler, table, task, draw_index) * times
    return totals


def _tokens(sampler: MixtureSampler, table: TokenTable, task: np.ndarray, draw_index: np.ndarray) -> np.ndarray:
    """[2, tasks] int64, the tokens of single draws, by task."""
    epoch, inside = np.divmod(draw_index, sampler.sizes[task])
    rows = table.rows(task, sampler.example(task, inside, epoch))
    return np.stack([_sums(task, lengths, len(sampler.sizes)) for lengths in table.lengths(rows)])


def _ranges(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(t, 0), …, (t, counts[t] − 1) for every t, as two arrays."""
    task = np.repeat(np.arange(len(counts)), counts)
    return task, np.arange(len(task)) - np.repeat(np.cumsum(counts) - counts, counts)


def _sums(task: np.ndarray, values: np.ndarray, tasks: int) -> np.ndarray:
    return np.bincount(task, weights=values, minlength=tasks).astype(np.int64)
