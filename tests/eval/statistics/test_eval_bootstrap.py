import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.statistics import bootstrap

ACCURACY = METRICS.get("accuracy")


def column(values):
    return np.asarray(values, float)[:, None]


def test_interval_agrees_with_scipys_percentile_bootstrap():
    values = np.random.default_rng(0).beta(2, 5, 300)
    ours = bootstrap.interval(ACCURACY, column(values), name="task")
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.004)


def test_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(300):
        low, high = bootstrap.interval(ACCURACY, column(rng.random(100) < 0.7), name=str(trial))
        hits += low <= 0.7 <= high
    assert 0.90 < hits / 300 < 0.985


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 5))
@settings(max_examples=40)
def test_interval_lies_within_the_scores_and_is_reproducible(values, seed):
    low, high = bootstrap.interval(ACCURACY, column(values), name="task", seed=seed)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert (low, high) == bootstrap.interval(ACCURACY, column(values), name="task", seed=seed)


def test_draws_depend_on_the_name_and_the_seed_and_not_on_chunking(monkeypatch):
    rows = column(np.random.default_rng(0).random(50))
    scores = bootstrap.resampled_scores(ACCURACY, rows, name="a")
    assert not np.array_equal(scores, bootstrap.resampled_scores(ACCURACY, rows, name="b"))
    assert not np.array_equal(scores, bootstrap.resampled_scores(ACCURACY, rows, name="a", seed=1))
    monkeypatch.setattr(bootstrap, "_CHUNK_ROWS", 333)
    np.testing.assert_array_equal(scores, bootstrap.resampled_scores(ACCURACY, rows, name="a"))


def test_more_examples_narrow_the_interval():
    rng = np.random.default_rng(3)
    widths = [np.ptp(bootstrap.interval(ACCURACY, column(rng.random(n) < 0.5), name="t")) for n in (25, 100, 400)]
    assert widths[0] > 1.6 * widths[1] > 1.6 * 1.6 * widths[2]


def test_average_resamples_within_tasks():
    rng = np.random.default_rng(4)
    values = {"a": rng.random(80) < 0.9, "b": rng.random(200) < 0.3}
    low, high = bootstrap.average_interval({name: (ACCURACY, column(v)) for name, v in values.items()})
    # The variance of a mean over tasks is the mean of the tasks' variances, divided by their number.
    deviation = np.sqrt(sum(v.var() / len(v) for v in values.values())) / len(values)
    centre = np.mean([v.mean() for v in values.values()])
    np.testing.assert_allclose((low, high), (centre - 1.96 * deviation, centre + 1.96 * deviation), atol=0.008)


def test_bleu_is_resampled_as_a_corpus():
    bleu = METRICS.get("bleu")
    sentences = ["the cat sat on the mat today", "a dog ran over the hill at night", "we all like to read good books"]
    predictions = [*sentences, *(s.replace("the", "some") for s in sentences)] * 5
    rows = bleu.statistics(predictions, [[s] for s in sentences * 10])
    scores = bootstrap.resampled_scores(bleu, rows, name="t", resamples=50)
    drawn = np.random.Generator(np.random.Philox(key=bootstrap.counter_hash("bootstrap", 0, "t"))).integers(
        30, size=(50, 30)
    )
    expected = [bleu([predictions[i] for i in row], [[(sentences * 10)[i]] for i in row]) for row in drawn]
    np.testing.assert_allclose(scores, expected)
    assert np.ptp(scores) > 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_scores_have_no_width(value):
    assert bootstrap.interval(ACCURACY, column([value] * 10), name="t") == (value, value)
