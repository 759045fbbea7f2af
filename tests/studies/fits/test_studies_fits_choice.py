"""Cross-validation: folds that keep replicates together, measures checked by hand, and what is said of too few runs."""

import functools

import numpy as np
import pytest
from scipy import stats
from studies_fits_surfaces import log_linear, mixtures, table

from flan_jax.errors import UserError
from flan_jax.studies.fits.choice import choose, unidentified
from flan_jax.studies.fits.cross_validation import cross_validate, folds, spearman
from flan_jax.studies.fits.families import FAMILIES
from flan_jax.studies.fits.noise_ceiling import noise_ceiling

quick = functools.partial(choose, repeats=1, resamples=100)
"""Tests look at what is chosen and said, not at the third digit of an interval."""


def test_replicates_stay_in_one_fold_and_every_fold_is_used() -> None:
    points = np.repeat(np.arange(12), 3)
    dealt = folds(points, repeats=4, seed=0)
    assert dealt.shape == (4, 36)
    for numbers in dealt:
        assert set(numbers) == set(range(10))
        assert all(len(set(numbers[points == point])) == 1 for point in range(12))
    assert len({tuple(numbers) for numbers in dealt}) == 4


def test_spearman_is_scipys() -> None:
    generator = np.random.default_rng(0)
    losses = generator.integers(0, 5, 30).astype(float)
    predicted = generator.normal(size=(2, 30)) + losses
    expected = np.mean([stats.spearmanr(one, losses)[0] for one in predicted])
    assert spearman(predicted, losses) == pytest.approx(expected)
    assert np.isnan(spearman(np.zeros((1, 30)), losses))


def test_intervals_are_those_of_resampled_runs() -> None:
    weights, points = mixtures(30), np.arange(30)
    losses = np.round(log_linear(weights), 1)  # ranks are shared, in resamples all the more
    found = cross_validate(FAMILIES["ridge_linear"], weights, losses, points, seed=0, repeats=1, resamples=60)
    generator = np.random.default_rng(np.random.SeedSequence((0, 3)))
    drawn = [generator.integers(30, size=30) for _ in range(60)]
    (predicted,) = found.predicted
    for own, of_rows in (
        (found.spearman, lambda rows: stats.spearmanr(predicted[rows], losses[rows])[0]),
        (found.rmse, lambda rows: np.sqrt(np.mean((predicted[rows] - losses[rows]) ** 2))),
    ):
        expected = np.quantile([of_rows(rows) for rows in drawn], [0.025, 0.975])
        assert (own.low, own.high) == pytest.approx(tuple(expected), rel=1e-9)


def test_a_law_that_is_exact_explains_all_and_noise_nothing() -> None:
    weights = mixtures(40)
    points = np.arange(40)
    exact = cross_validate(
        FAMILIES["ridge_linear"], weights, weights @ np.arange(4.0), points, seed=0, repeats=2, resamples=100
    )
    assert exact.explained.value > 0.999
    assert exact.spearman.value > 0.999
    assert exact.beats_mean
    noise = np.random.default_rng(3).normal(size=40)
    nothing = cross_validate(FAMILIES["ridge_linear"], weights, noise, points, seed=0, repeats=2, resamples=100)
    assert not nothing.beats_mean
    # The measure itself, from the predictions that are kept.
    residuals = exact.predicted - (weights @ np.arange(4.0))
    assert exact.rmse.value == pytest.approx(np.sqrt(np.mean(residuals**2)))


def test_the_noise_ceiling_pools_equal_runs_by_hand() -> None:
    losses, points = np.array([1.0, 3.0, 10.0, 10.0, 13.0, 40.0]), np.array([0, 0, 1, 1, 1, 2])
    ceiling = noise_ceiling(losses, points)
    assert ceiling is not None
    assert (ceiling.replicates, ceiling.points) == (5, 2)
    assert ceiling.sd.value == pytest.approx(np.sqrt((2 + 6) / 3))
    low, high = np.sqrt(8 / stats.chi2.ppf([0.975, 0.025], 3))
    assert (ceiling.sd.low, ceiling.sd.high) == pytest.approx((low, high))
    assert noise_ceiling(losses, np.arange(6)) is None


def test_the_rank_ceiling_is_what_perfect_knowledge_reaches() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(0, 1, 600)
    first, second = (truth + generator.normal(0, 0.7, 600) for _ in range(2))
    ceiling = noise_ceiling(np.concatenate([first, second]), np.tile(np.arange(600), 2))
    assert ceiling is not None
    assert ceiling.sd.low < 0.7 < ceiling.sd.high
    assert ceiling.spearman.value == pytest.approx(
        np.mean([stats.spearmanr(truth, own)[0] for own in (first, second)]), abs=0.03
    )


def test_the_family_of_the_least_error_is_chosen_and_the_advised_one_said() -> None:
    weights = mixtures(30)
    quadratic = 4 * weights[:, 0] * weights[:, 1] + weights[:, 2]
    names = ("ridge_linear", "ridge_quadratic")
    chosen = quick(table(weights, quadratic), "loss", families=names)
    assert chosen.chosen == chosen.compared[0].family == "ridge_quadratic"
    assert chosen.default == "log_linear"
    # Of a score whose direction is the other one the choice is the same.
    turned = quick(table(weights, quadratic), "accuracy", families=names)
    assert turned.best.spearman.value == pytest.approx(chosen.best.spearman.value)


def test_runs_without_a_score_are_counted_and_named() -> None:
    weights = mixtures(20)
    losses = log_linear(weights)
    losses[[2, 5]] = np.nan
    chosen = quick(table(weights, losses), "loss", families=("ridge_linear",))
    assert "2 of 20 runs have no score of 'loss' and are left out: run_0002, run_0005." in chosen.notes


def test_too_few_runs_are_said_with_the_number_needed() -> None:
    weights = mixtures(8, 8)
    chosen = quick(table(weights, weights @ np.arange(8.0)), "loss", families=("ridge_linear", "log_linear"))
    assert [own.family for own in chosen.compared] == ["ridge_linear"]
    assert any("log_linear is left out: for 8 weights it needs 9 runs" in note for note in chosen.notes)
    with pytest.raises(UserError, match="log_linear is left out"):
        quick(table(weights, weights @ np.arange(8.0)), "loss", families=("log_linear",))
    with pytest.raises(UserError, match=r"4 runs with 4 different mixtures are too few .* at least 6"):
        quick(table(weights[:4, :4] / weights[:4, :4].sum(axis=1, keepdims=True), np.arange(4.0)), "loss")
    with pytest.raises(UserError, match="All 8 runs have the same score"):
        quick(table(weights, np.ones(8)), "loss")
    quadratic = quick(table(weights, weights @ np.arange(8.0)), "loss", families=("ridge_quadratic",))
    assert any("ridge_quadratic has 36 coefficients and 8 runs" in note for note in quadratic.notes)


def test_units_that_the_runs_do_not_tell_apart_are_named() -> None:
    base = mixtures(12, 3)
    together = np.concatenate([base[:, :2], base[:, 2:] * [[0.5, 0.5]]], axis=1)  # c and d always in one proportion
    (sentence,) = unidentified(table(together, np.zeros(12)))
    assert "rank 3 for 4 units" in sentence
    assert "'c' and 'd'" in sentence
    assert "'a'" not in sentence
    # One run of another proportion tells them apart, as one run with a unit that was added later does.
    assert unidentified(table(np.concatenate([together, [[0.2, 0.2, 0.6, 0.0]]]), np.zeros(13))) == ()
    added = table(np.concatenate([base, np.zeros((12, 1))], axis=1), np.zeros(12))
    assert "No run has 'd'" in unidentified(added)[0]
    with_it = np.concatenate([added.weights, [[0.3, 0.3, 0.2, 0.2]]])
    assert unidentified(table(with_it, np.zeros(13))) == ()
