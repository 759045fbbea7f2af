"""Shares and epochs of what was drawn, worked by hand."""

import numpy as np
import pytest

from flan_jax.feed.sampling_stats import SamplingStats


def stats(examples, inputs, targets, *, names=("a", "b", "c"), expected=(1.0, 3.0, 0.0)):
    counts = (np.array(column, np.int64) for column in (examples, inputs, targets))
    return SamplingStats(names, np.array(expected), np.array([2, 4, 0]), *counts)


def test_shares_and_epochs_worked_by_hand():
    some = stats([1, 5, 0], [10, 20, 0], [30, 140, 0])
    assert some.requested.tolist() == [0.25, 0.75, 0]
    assert some.tokens.tolist() == [40, 160, 0]
    assert some.epochs.tolist() == [0.5, 1.25, 0]  # a task without examples is gone through no times
    assert some.shares.tolist() == [1 / 6, 5 / 6, 0]
    assert some.token_shares.tolist() == [0.2, 0.8, 0]
    one = stats([0, 1, 0], [0, 1, 0], [0, 0, 0])
    assert one.shares.tolist() == one.token_shares.tolist() == [0, 1, 0]
    single = SamplingStats(("a",), np.ones(1), np.array([1]), np.array([3]), np.array([1]), np.array([1]))
    assert single.epochs.tolist() == [3]


def test_before_the_first_draw_there_are_no_shares():
    none = stats(*[[0, 0, 0]] * 3)
    for shares in (none.shares, none.token_shares, none.epochs):
        assert shares.tolist() == [0, 0, 0]


def test_parts_of_a_run_over_the_same_tasks_add_up():
    both = stats([1, 2, 0], [3, 4, 0], [5, 6, 0]) + stats([10, 20, 0], [30, 40, 0], [50, 60, 0], expected=(5, 7, 0))
    assert both.expected.tolist() == [6, 10, 0]
    assert both.sizes.tolist() == [2, 4, 0]
    assert [both.examples.tolist(), both.input_tokens.tolist(), both.target_tokens.tolist()] == [
        [11, 22, 0], [33, 44, 0], [55, 66, 0],
    ]  # fmt: skip
    with pytest.raises(ValueError, match="different tasks"):
        both + stats([1, 1, 1], [1, 1, 1], [1, 1, 1], names=("a", "c", "b"))
