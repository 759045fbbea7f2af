"""Rows of a sequence that ends: all of its draws, each once, and nothing behind the last, however windows are cut."""

import numpy as np
import pytest

from flan_jax.feed import packed_chunks, packed_row_index
from flan_jax.feed.layout import RowLayout
from flan_jax.feed.packed_row_index import PackedRowIndex

WINDOW = 4


@pytest.fixture
def make_index(make_tasks, monkeypatch):
    """Rows of tasks of these sizes, of so many epochs, in chunks of 32 draws and windows of 4 chunks."""
    for module in (packed_chunks, packed_row_index):
        monkeypatch.setattr(module, "CHUNK_DRAWS", 32)
    monkeypatch.setattr(packed_row_index, "WINDOW_CHUNKS", WINDOW)
    monkeypatch.setattr(packed_row_index, "TAIL_CHUNKS", 2)

    def make(sizes):
        tasks, layout = make_tasks(sizes), RowLayout(24, 10)

        def of(epochs, seed=6):
            return PackedRowIndex(tasks, (0.1, 0.4, 0.5), seed=seed, layout=layout, exhausted="drop", epochs=epochs)

        return of

    return make


def assert_whole(index, epochs):
    examples = sum(index.sampler.sizes)
    plan, rows = index.plan(0, 10_000)
    assert rows == plan.row[-1] + 1
    assert np.bincount(plan.table_row, minlength=examples).tolist() == [epochs] * examples
    # From any row on, the same is left; and nothing behind the end.
    for row in (rows // 2, rows - 1, rows, rows + 50):
        rest, count = index.plan(row, 10_000)
        assert count == max(0, rows - row)
        assert rest.table_row.tolist() == plan.table_row[plan.row >= row].tolist()
    return rows


def test_a_sequence_ends_with_its_last_example_whatever_its_chunks(make_index, monkeypatch):
    monkeypatch.setattr(packed_row_index, "_MARGIN_DEVIATIONS", 12.0)
    of, remainders = make_index((7, 40, 73)), set()
    for epochs in range(1, 13):
        index = of(epochs)
        remainders.add(index.chunks.count % WINDOW)
        assert_whole(index, epochs)
    assert remainders == set(range(WINDOW))


def test_a_last_window_has_as_many_rows_as_it_needs(make_index, monkeypatch):
    monkeypatch.setattr(packed_row_index, "_MARGIN_DEVIATIONS", 0.0)
    of, longer = make_index((8, 40, 80)), 0
    for seed in range(12):
        index = of(2, seed)
        assert index.chunks.count == 2 * WINDOW
        longer += assert_whole(index, 2) > 2 * index.capacity.rows
    assert longer
