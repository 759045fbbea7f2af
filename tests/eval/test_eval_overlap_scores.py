"""Scores of clean and of overlapping examples."""

import numpy as np
import pytest

from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.overlap import overlap_scores


def scores(right, labels, groups=None, metric="accuracy"):
    rows = np.asarray(right, np.float64)[:, None]
    return overlap_scores(METRICS.get(metric), rows, groups or [""] * len(right), labels, name="t")


def test_definitions_are_nested_and_short_records_stand_apart():
    found = scores([1, 0, 1, 1, 0], ["exact", "normalized", "ngram", "clean", "short"])
    assert {name: [part["n"] for part in parts.values()] for name, parts in found.items()} == {
        "exact": [3, 1, 1],
        "normalized": [2, 2, 1],
        "ngram": [1, 3, 1],
    }
    assert [found["ngram"][part]["value"] for part in ("clean", "short")] == [1.0, 0.0]
    assert found["ngram"]["overlapping"]["value"] == pytest.approx(2 / 3)
    low, high = found["ngram"]["overlapping"]["interval"]
    assert 0 <= low <= 2 / 3 <= high <= 1


def test_no_example_is_no_score_and_an_example_nobody_looked_for_leaves_all_out():
    assert scores([1, 0], ["clean", "clean"])["exact"]["overlapping"] == {"n": 0, "value": None, "interval": None}
    assert scores([1, 0], ["clean", ""]) == {}


def test_a_group_overlaps_as_a_whole():
    found = scores([1, 1, 0, 1], ["exact", "clean", "clean", "clean"], ["a", "a", "b", ""], metric="group_em")
    assert found["exact"]["overlapping"]["n"] == 2
    assert found["exact"]["overlapping"]["value"] == 1.0
    assert found["exact"]["clean"]["value"] == 0.5  # of two groups
