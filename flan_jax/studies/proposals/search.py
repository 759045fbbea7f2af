"""Ways to the best mixture that a law predicts: following its gradient, or scoring random mixtures."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

from flan_jax.studies.proposals.constraints import Limits, kl_divergence, within

Predict = Callable[[np.ndarray], np.ndarray]
"""[m, K] mixtures to [m] losses."""

DRAWS = 100_000
"""RegMix's (arXiv:2407.01492): so many mixtures are scored, and the best 128 averaged."""
BEST = 128
_BATCH = 20_000
_FIRST_LOOK = 2_000
_SHARES_BELOW = 1e-6
"""Smaller shares are 0."""


def by_gradient(predict: Predict, limits: Limits, *, pull: float, seed: int) -> np.ndarray:
    """Minimizes loss(p) + pull·KL(p‖prior) within the limits by sequential quadratic programming (SLSQP).

    It starts from the prior, from equal shares and from the best of some random mixtures, and the best end is returned.

    Args:
        predict: the law.
        limits: caps and prior.
        pull: λ, in units of the loss per nat.
        seed: of the random mixtures.

    Returns:
        [K] weights.
    """
    drawn = draws(limits, _FIRST_LOOK, seed=seed)
    scored = predict(drawn) + pull * kl_divergence(drawn, limits.prior)
    open_to = limits.caps > 0
    equal = within(np.where(open_to, 1 / open_to.sum(), 0.0), limits.caps)
    starts = [limits.prior, equal, *drawn[np.argsort(scored, kind="stable")[:2]]]
    ends = [_descended(predict, limits, start, pull) for start in starts]
    return min([*ends, limits.prior], key=lambda end: float(_objective(predict, limits, pull, end)))


def by_draws(predict: Predict, limits: Limits, *, pull: float, seed: int, count: int = DRAWS) -> np.ndarray:
    """Scores random mixtures and averages the best 128; with ``pull`` 0 this is RegMix's way.

    RegMix draws from a Dirichlet distribution with the prior as its parameters. Here draws that break a cap are
    brought within it (``constraints.within``).

    Args:
        predict: the law.
        limits: caps and prior.
        pull: λ, in units of the loss per nat.
        seed: of the draws.
        count: how many.

    Returns:
        [K] weights.
    """
    drawn = draws(limits, count, seed=seed)
    parts = [drawn[begin : begin + _BATCH] for begin in range(0, count, _BATCH)]
    scores = np.concatenate([predict(part) for part in parts]) + pull * kl_divergence(drawn, limits.prior)
    best = drawn[np.argsort(scores, kind="stable")[:BEST]]
    return _clean(best.mean(axis=0), limits)


def draws(limits: Limits, count: int, *, seed: int) -> np.ndarray:
    """Draws mixtures from Dirichlet(prior), brought within the caps: [count, K]."""
    generator = np.random.default_rng(np.random.SeedSequence((seed, 5)))
    open_to = limits.prior > 0
    found = np.zeros((count, len(limits.prior)))
    # numpy's Dirichlet by gamma variables gives NaN where all of them underflow, as parameters near 0 let them.
    found[:, open_to] = np.nan_to_num(generator.dirichlet(np.maximum(limits.prior[open_to], 1e-3), count))
    lost = found.sum(axis=1) < 0.5
    found[lost] = limits.prior
    return within(found / found.sum(axis=1, keepdims=True), limits.caps)


def _objective(predict: Predict, limits: Limits, pull: float, weights: np.ndarray) -> np.ndarray:
    return predict(weights[None])[0] + pull * kl_divergence(weights, limits.prior)


def _descended(predict: Predict, limits: Limits, start: np.ndarray, pull: float) -> np.ndarray:
    free = np.flatnonzero(limits.caps > 0)
    step = 1e-5
    prior, size = limits.prior[free], len(free)

    def whole(weights: np.ndarray) -> np.ndarray:
        full = np.zeros((*weights.shape[:-1], len(limits.caps)))
        full[..., free] = weights
        return full

    def value_and_gradient(weights: np.ndarray) -> tuple[float, np.ndarray]:
        kept = np.maximum(weights, 1e-12)
        # All neighbors in one call: a law predicts a hundred mixtures as fast as one.
        predicted = predict(whole(np.concatenate([kept[None], kept + step * np.eye(size)])))
        slope = (predicted[1:] - predicted[0]) / step + pull * (np.log(kept / prior) + 1)
        return float((predicted[0] + pull * kl_divergence(kept, prior)) / unit), slope / unit

    # In units of what the law spans near the start, as SLSQP's tolerance is absolute.
    unit = max(float(np.ptp(predict(whole(0.5 * start[free] + 0.5 * np.eye(size))))), 1e-12)
    found = minimize(
        value_and_gradient,
        start[free],
        jac=True,
        method="SLSQP",
        bounds=[(0.0, float(cap)) for cap in limits.caps[free]],
        constraints=[{"type": "eq", "fun": lambda p: p.sum() - 1, "jac": lambda p: np.ones(size)}],
        options={"maxiter": 200, "ftol": 1e-9},
    )
    return _clean(whole(np.clip(np.nan_to_num(found.x), 0, None)), limits)


def _clean(weights: np.ndarray, limits: Limits) -> np.ndarray:
    """Sets dust to 0 and brings the rest onto the simplex and within the caps."""
    kept = np.where(weights < _SHARES_BELOW, 0.0, weights)
    return within(kept / kept.sum(), limits.caps) if kept.sum() > 0 else limits.prior
