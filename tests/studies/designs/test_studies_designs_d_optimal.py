"""D-optimal designs against the ones that are known, and against random ones."""

import itertools

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.studies.designs.d_optimal import d_efficiency, d_optimal, scheffe_terms


def lattice(units: int, parts: int) -> np.ndarray:
    """The simplex lattice: every mixture whose shares are multiples of 1/parts."""
    return np.array([row for row in itertools.product(range(parts + 1), repeat=units) if sum(row) == parts]) / parts


@pytest.mark.parametrize("seed", [0, 1])
def test_vertices_are_optimal_for_the_linear_law(seed: int) -> None:
    candidates = lattice(4, 4)
    chosen = candidates[d_optimal(candidates, 4, degree=1, seed=seed)]
    assert sorted(map(tuple, chosen)) == sorted(map(tuple, np.eye(4)))


def test_twice_the_runs_repeat_each_vertex() -> None:
    candidates = lattice(3, 4)
    chosen = candidates[d_optimal(candidates, 6, degree=1, seed=0)]
    assert sorted(map(tuple, chosen)) == sorted(map(tuple, np.repeat(np.eye(3), 2, axis=0)))


def test_vertices_and_midpoints_are_optimal_for_the_quadratic_law() -> None:
    # Kiefer 1961: the {K, 2} simplex lattice.
    candidates = lattice(3, 6)
    chosen = candidates[d_optimal(candidates, 6, degree=2, seed=0)]
    assert sorted(map(tuple, chosen)) == sorted(map(tuple, lattice(3, 2)))


def test_no_exchange_of_one_run_is_better() -> None:
    candidates = np.random.default_rng(0).dirichlet(np.ones(4), 60)
    chosen = d_optimal(candidates, 12, degree=2, seed=3)

    def determinant(places: np.ndarray) -> float:
        terms = scheffe_terms(candidates[places], 2)
        return float(np.linalg.slogdet(terms.T @ terms)[1])

    best = determinant(chosen)
    for run, candidate in itertools.product(range(12), range(60)):
        other = chosen.copy()
        other[run] = candidate
        assert determinant(other) <= best + 1e-6


def test_random_designs_need_several_times_the_runs() -> None:
    generator = np.random.default_rng(1)
    candidates = np.concatenate([lattice(5, 2), generator.dirichlet(np.ones(5), 300)])
    designed = candidates[d_optimal(candidates, 20, degree=2, seed=0)]
    random = [
        d_efficiency(candidates[generator.choice(300, 20) + 15], designed, degree=2) for _ in range(5)
    ]  # the draws alone
    assert max(random) < 0.5
    assert d_efficiency(designed, designed, degree=2) == pytest.approx(1)


def test_the_seed_decides_and_the_order_of_units_does_not_matter() -> None:
    candidates = lattice(4, 4)
    first = d_optimal(candidates, 11, degree=2, seed=5)
    assert np.array_equal(first, d_optimal(candidates, 11, degree=2, seed=5))
    turned = d_optimal(candidates[:, ::-1], 11, degree=2, seed=5)
    assert d_efficiency(candidates[turned], candidates[first], degree=2) == pytest.approx(1, abs=0.02)


def test_too_few_runs_and_too_alike_candidates_are_refused() -> None:
    with pytest.raises(UserError, match="has 10 coefficients, and 9 runs"):
        d_optimal(lattice(4, 4), 9, degree=2, seed=0)
    with pytest.raises(UserError, match="tell 2 of the 3 coefficients"):
        d_optimal(np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]] * 4), 4, degree=1, seed=0)
    with pytest.raises(UserError, match="degree 1"):
        d_optimal(lattice(3, 2), 9, degree=3, seed=0)
