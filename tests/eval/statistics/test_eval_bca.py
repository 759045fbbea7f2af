import dataclasses

import numpy as np
import pytest
import scipy.stats

from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.statistics.bca import acceleration, bca_interval

SQUAD_F1, PEARSON = METRICS.get("squad_f1"), METRICS.get("pearson")


def skewed(count):
    return np.random.default_rng(0).beta(0.5, 3, count)[:, None]


def pairs(count):
    """Statistics of Pearson's correlation, of two numbers that go together."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(count)
    y = x + 0.5 * rng.standard_normal(count)
    return np.stack([x, y, x * y, x * x, y * y], axis=-1)


def theirs(function, *data):
    return scipy.stats.bootstrap(
        data, function, paired=len(data) > 1, vectorized=len(data) < 2, n_resamples=6000, method="BCa",
        rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip


def test_large_samples_agree_with_scipys_bca():
    rows = skewed(400)
    np.testing.assert_allclose(bca_interval(SQUAD_F1, rows, name="t"), theirs(np.mean, rows[:, 0]), atol=0.0025)
    rows = pairs(300)
    expected = theirs(lambda x, y: np.corrcoef(x, y)[0, 1], rows[:, 0], rows[:, 1])
    np.testing.assert_allclose(bca_interval(PEARSON, rows, name="t"), expected, atol=0.006)


def test_bias_and_acceleration_move_the_percentiles_as_scipy_moves_them():
    """The plug-in variance of a skewed sample is biased, and spreads the more the larger it is."""
    x = np.random.default_rng(5).exponential(size=120) * 0.2
    variance = dataclasses.replace(
        SQUAD_F1, aggregate=lambda sums, count: sums[..., 1] / count - (sums[..., 0] / count) ** 2, is_mean=False
    )
    rows = np.stack([x, x * x], axis=-1)
    ours = np.mean([bca_interval(variance, rows, name=name) for name in "abcdef"], axis=0)
    options = {"n_resamples": 20_000, "rng": np.random.default_rng(2)}
    bca, plain = (
        np.asarray(scipy.stats.bootstrap((x,), np.var, method=method, **options).confidence_interval)
        for method in ("BCa", "percentile")
    )
    moved = np.abs(bca - plain)
    assert (np.abs(ours - bca) < 0.2 * moved).all()


def test_a_skewed_score_reaches_further_to_its_long_side():
    rows = skewed(60)
    low, high = bca_interval(SQUAD_F1, rows, name="t")
    center = rows.mean()
    assert high - center > 1.15 * (center - low)
    low, high = bca_interval(PEARSON, pairs(40), name="t")
    assert PEARSON.of(pairs(40)) - low > 1.3 * (high - PEARSON.of(pairs(40)))


def test_few_examples_are_wider_than_percentiles():
    rows = skewed(8)
    low, high = bca_interval(SQUAD_F1, rows, name="t")
    plain = scipy.stats.bootstrap(
        (rows[:, 0],), np.mean, method="BCa", n_resamples=6000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert high - low > 1.15 * (plain.high - plain.low)


def test_acceleration_of_a_mean_is_its_skewness():
    rows = skewed(500)
    expected = scipy.stats.skew(rows[:, 0]) / (6 * np.sqrt(500))
    assert acceleration(SQUAD_F1, rows, name="t") == pytest.approx(expected)
    ranks = METRICS.get("spearman")
    by_all = acceleration(ranks, pairs(150)[:, :2], name="t")
    assert acceleration(ranks, pairs(400)[:, :2], name="t") * np.sqrt(400 / 150) == pytest.approx(by_all, abs=0.03)


def test_scores_that_are_all_the_same_have_no_width():
    assert bca_interval(SQUAD_F1, np.full((20, 1), 0.5), name="t") == (0.5, 0.5)
