"""The search for the best mixture against optima that are known in closed form."""

import numpy as np
import pytest

from flan_jax.studies.proposals.constraints import Limits, kl_divergence
from flan_jax.studies.proposals.search import BEST, by_draws, by_gradient, draws

UNITS = ("a", "b", "c")
SLOPES = np.array([0.3, -0.2, 0.1])
PRIOR = np.array([0.5, 0.2, 0.3])


def linear(weights: np.ndarray) -> np.ndarray:
    return weights @ SLOPES


@pytest.mark.parametrize("pull", [0.05, 0.3, 5.0])
def test_a_linear_law_with_a_pull_has_an_exponential_optimum(pull: float) -> None:
    # Minimizing s·p + λ KL(p‖π) gives p ∝ π exp(-s / λ).
    expected = PRIOR * np.exp(-SLOPES / pull)
    found = by_gradient(linear, Limits.of(UNITS, PRIOR), pull=pull, seed=0)
    assert found == pytest.approx(expected / expected.sum(), abs=2e-4)


def test_without_a_pull_the_best_unit_takes_all_and_a_cap_holds_it() -> None:
    assert by_gradient(linear, Limits.of(UNITS, PRIOR), pull=0.0, seed=0) == pytest.approx([0, 1, 0], abs=1e-5)
    capped = by_gradient(linear, Limits.of(UNITS, PRIOR, np.array([1, 0.6, 0.3])), pull=0.0, seed=0)
    assert capped == pytest.approx([0.1, 0.6, 0.3], abs=1e-5)


def test_an_endless_pull_stays_at_the_prior() -> None:
    assert by_gradient(linear, Limits.of(UNITS, PRIOR), pull=1e4, seed=0) == pytest.approx(PRIOR, abs=1e-3)


def test_a_bowl_is_followed_to_its_bottom_in_any_order_of_units() -> None:
    bottom = np.array([0.1, 0.65, 0.25])
    bowl = lambda p: ((p - bottom) ** 2).sum(axis=1)  # noqa: E731
    turned = lambda p: bowl(p[:, ::-1])  # noqa: E731
    assert by_gradient(bowl, Limits.of(UNITS, PRIOR), pull=0.0, seed=0) == pytest.approx(bottom, abs=1e-3)
    found = by_gradient(turned, Limits.of(UNITS, PRIOR[::-1]), pull=0.0, seed=0)
    assert found == pytest.approx(bottom[::-1], abs=1e-3)


def test_draws_average_the_best_and_keep_to_caps() -> None:
    limits = Limits.of(UNITS, PRIOR, np.array([1.0, 0.5, 1.0]))
    drawn = draws(limits, 3000, seed=1)
    assert (drawn <= limits.caps + 1e-9).all()
    assert drawn.sum(axis=1) == pytest.approx(np.ones(3000))
    expected = drawn[np.argsort(linear(drawn), kind="stable")[:BEST]].mean(axis=0)
    assert by_draws(linear, limits, pull=0.0, seed=1, count=3000) == pytest.approx(expected, abs=1e-5)
    pulled = by_draws(linear, limits, pull=1.0, seed=1, count=3000)
    assert kl_divergence(pulled, limits.prior) < kl_divergence(expected, limits.prior) / 5


def test_draws_follow_the_prior_even_where_it_is_tiny() -> None:
    prior = np.array([1e-6, 0.4, 0.599999])
    drawn = draws(Limits.of(UNITS, prior), 20_000, seed=0)
    assert np.isfinite(drawn).all()
    assert drawn.mean(axis=0) == pytest.approx(prior, abs=0.01)
