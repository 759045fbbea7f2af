"""Surfaces over mixtures whose optimum is known: what a run would score, without its noise."""

import dataclasses
from collections.abc import Callable

import numpy as np

from flan_jax.studies.proposals.constraints import Limits
from flan_jax.studies.proposals.search import by_gradient

UNITS = 8


@dataclasses.dataclass(frozen=True)
class Surface:
    """Losses, [m, UNITS] to [m], and the lowest of them."""

    name: str
    losses: Callable[[np.ndarray], np.ndarray]
    lowest: float


def surface(name: str, seed: int) -> Surface:
    """A surface of one of the four kinds."""
    return KINDS[name](np.random.default_rng(np.random.SeedSequence((seed, 11))))


def _log_linear(generator: np.random.Generator) -> Surface:
    """One mixing law; its optimum is a vertex, the unit with the lowest slope."""
    slopes = generator.normal(0, 1.5, UNITS)
    return Surface("log_linear", lambda weights: 1 + np.exp(weights @ slopes), float(1 + np.exp(slopes.min())))


def _mean_of_laws(generator: np.random.Generator) -> Surface:
    """The mean of four tasks' mixing laws: each is best at one unit, their mean between them (convex)."""
    slopes = generator.normal(0, 1.5, (4, UNITS))

    def losses(weights: np.ndarray) -> np.ndarray:
        return 1 + np.exp(weights @ slopes.T).mean(axis=1)

    # Convex, so that the descent's end is the optimum.
    limits = Limits.of([str(unit) for unit in range(UNITS)], np.full(UNITS, 1 / UNITS))
    best = by_gradient(losses, limits, pull=0.0, seed=0)
    return Surface("mean_of_laws", losses, float(losses(best[None])[0]))


def _quadratic(generator: np.random.Generator) -> Surface:
    """A bowl with its bottom inside the simplex."""
    bottom = generator.dirichlet(np.ones(UNITS))
    factor = generator.normal(0, 1, (UNITS, UNITS))
    bowl = factor @ factor.T / UNITS + 0.3 * np.eye(UNITS)

    def losses(weights: np.ndarray) -> np.ndarray:
        apart = weights - bottom
        return 1 + np.einsum("nk,kj,nj->n", apart, bowl, apart)

    return Surface("quadratic", losses, 1.0)


def _tree(generator: np.random.Generator) -> Surface:
    """Steps: a loss of 1, less something for each of four units with enough, more for one with too much."""
    order = generator.permutation(UNITS)
    enough, gains = generator.uniform(0.08, 0.2, 4), generator.uniform(0.1, 0.3, 4)

    def losses(weights: np.ndarray) -> np.ndarray:
        reached = weights[:, order[:4]] >= enough
        return 1 - reached @ gains + 0.2 * (weights[:, order[4]] > 0.15)

    return Surface("tree", losses, float(1 - gains.sum()))


KINDS = {"log_linear": _log_linear, "mean_of_laws": _mean_of_laws, "quadratic": _quadratic, "tree": _tree}
