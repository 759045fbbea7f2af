"""Each family recovers a law that it can express, and none depends on the order of units or on the losses' scale."""

import importlib.util
import itertools
from importlib.machinery import ModuleSpec

import numpy as np
import pytest
from scipy.stats import spearmanr
from studies_fits_surfaces import SLOPES, log_linear, mixtures

from flan_jax.errors import UserError
from flan_jax.studies.fits import boosted_trees
from flan_jax.studies.fits.boosted_trees import BoostedTrees
from flan_jax.studies.fits.families import FAMILIES, asked_families, default_family
from flan_jax.studies.fits.family import Scale
from flan_jax.studies.fits.gaussian_process import negative_likelihood
from flan_jax.studies.fits.mixing_law import MixingLaw

NEW = mixtures(50, seed=9)


def test_the_mixing_law_finds_its_coefficients_and_extrapolates_to_the_vertices() -> None:
    weights = mixtures(24)
    fitted = MixingLaw().fit(weights, log_linear(weights), seed=0)
    vertices = np.eye(4)
    assert fitted.predict(vertices).mean == pytest.approx(2 + np.exp(SLOPES), abs=5e-3)
    assert fitted.scale.original(fitted.coefficients[0]) == pytest.approx(2, abs=0.05)


def test_a_run_that_went_wrong_moves_the_mixing_law_little() -> None:
    weights = mixtures(40)
    losses = log_linear(weights) + np.random.default_rng(0).normal(0, 0.005, 40)
    losses[3] += 3.0
    assert np.abs(MixingLaw().fit(weights, losses, seed=0).predict(NEW).mean - log_linear(NEW)).max() < 0.03


def test_ridge_finds_scheffes_polynomials() -> None:
    weights = mixtures(60)
    linear, quadratic = weights @ SLOPES, weights @ SLOPES + 3 * weights[:, 0] * weights[:, 2]
    fitted = FAMILIES["ridge_linear"].fit(weights, linear, seed=0)
    assert fitted.predict(NEW).mean == pytest.approx(NEW @ SLOPES, abs=1e-3)
    fitted = FAMILIES["ridge_quadratic"].fit(weights, quadratic, seed=0)
    assert fitted.predict(NEW).mean == pytest.approx(NEW @ SLOPES + 3 * NEW[:, 0] * NEW[:, 2], abs=0.02)


def test_a_gaussian_process_follows_a_surface_of_any_form_and_knows_its_noise() -> None:
    weights, noise = mixtures(120), 0.02
    surface = lambda p: np.abs(p[:, 0] - 0.4) + p[:, 1] ** 2  # noqa: E731
    losses = surface(weights) + np.random.default_rng(1).normal(0, noise, 120)
    found = FAMILIES["gaussian_process"].fit(weights, losses, seed=0).predict(NEW)
    assert spearmanr(found.mean, surface(NEW))[0] > 0.95
    assert found.sd is not None
    assert noise < np.median(found.sd) < 4 * noise


def test_the_likelihood_of_a_kernel_and_its_slope_are_scikit_learns() -> None:
    weights = mixtures(30)
    losses = Scale.of(log_linear(weights)).standard(log_linear(weights))
    process = FAMILIES["gaussian_process"].fit(weights, losses, seed=0).process
    ours = negative_likelihood(np.sqrt(weights), process.y_train_)
    for settings in (process.kernel_.theta, np.log([2.0, 0.3, 0.05])):
        value, slope = process.log_marginal_likelihood(settings, eval_gradient=True)
        assert ours(settings)[0] == pytest.approx(-value, rel=1e-9)
        assert ours(settings)[1] == pytest.approx(-slope, rel=1e-6, abs=1e-6)
    assert process.log_marginal_likelihood_value_ == pytest.approx(-ours(process.kernel_.theta)[0])


def test_boosted_trees_follow_steps() -> None:
    weights = mixtures(200)
    steps = lambda p: np.where(p[:, 0] > 0.3, 1.0, 0.0) + np.where(p[:, 3] > 0.2, 2.0, 0.0)  # noqa: E731
    fitted = BoostedTrees().fit(weights, steps(weights), seed=0)
    assert spearmanr(fitted.predict(NEW).mean, steps(NEW))[0] > 0.85
    assert 1 <= fitted.trees <= boosted_trees.TREES


def test_runs_that_are_given_decide_how_many_trees() -> None:
    weights, noise = mixtures(100), np.random.default_rng(0).normal(size=100)
    stopped = BoostedTrees().fit(weights, log_linear(weights), seed=0, validation=(weights, noise))
    followed = BoostedTrees().fit(weights, log_linear(weights), seed=0, validation=(NEW, log_linear(NEW)))
    assert stopped.trees < 100 < followed.trees


@pytest.mark.parametrize("name", list(FAMILIES))
def test_units_may_be_in_any_order_and_losses_on_any_scale(name: str) -> None:
    weights = mixtures(64)
    losses = log_linear(weights) + np.random.default_rng(0).normal(0, 0.05, 64)
    first = FAMILIES[name].fit(weights, losses, seed=0).predict(NEW).mean
    turned = FAMILIES[name].fit(weights[:, ::-1], losses, seed=0).predict(NEW[:, ::-1]).mean
    assert turned == pytest.approx(first, abs=5e-3)
    scaled = FAMILIES[name].fit(weights, 1000 * losses - 7, seed=0).predict(NEW).mean
    assert (scaled + 7) / 1000 == pytest.approx(first, abs=5e-3)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_refit_to_the_same_runs_is_the_fit(name: str) -> None:
    weights = mixtures(64)
    losses = log_linear(weights) + np.random.default_rng(0).normal(0, 0.05, 64)
    fitted = FAMILIES[name].fit(weights, losses, seed=0)
    assert fitted.refit(weights, losses).predict(NEW).mean == pytest.approx(fitted.predict(NEW).mean, abs=2e-3)
    other = mixtures(64, seed=5)
    moved = fitted.refit(other, log_linear(other) + 5).predict(NEW).mean
    assert moved == pytest.approx(log_linear(NEW) + 5, abs=0.5)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_unit_of_no_run_leaves_the_others_alone(name: str) -> None:
    weights = mixtures(64)
    losses = log_linear(weights)
    padded = [np.concatenate([own, np.zeros((len(own), 1))], axis=1) for own in (weights, NEW)]
    with_it = FAMILIES[name].fit(padded[0], losses, seed=0).predict(padded[1]).mean
    assert with_it == pytest.approx(FAMILIES[name].fit(weights, losses, seed=0).predict(NEW).mean, abs=5e-3)


def test_runs_needed_count_coefficients() -> None:
    needed = {name: family.runs_needed(17) for name, family in FAMILIES.items()}
    assert needed == {
        "log_linear": 18,
        "ridge_linear": 17,
        "ridge_quadratic": 17 + len(list(itertools.combinations(range(17), 2))),
        "gaussian_process": 4,
        "boosted_trees": 50,
    }


def test_the_default_is_what_public_work_advises() -> None:
    assert [default_family(runs) for runs in (32, 127, 128, 512)] == ["log_linear"] * 2 + ["boosted_trees"] * 2


def test_a_family_that_lacks_its_package_is_left_out_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def without_lightgbm(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "lightgbm" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_lightgbm)
    families, notes = asked_families(())
    assert [family.name for family in families] == [name for name in FAMILIES if name != "boosted_trees"]
    assert len(notes) == 1
    assert "boosted_trees needs lightgbm, not installed here" in notes[0]
    with pytest.raises(UserError, match="boosted_trees needs lightgbm"):
        asked_families(["boosted_trees"])
    with pytest.raises(UserError, match="Did you mean 'log_linear'"):
        asked_families(["loglinear"])
