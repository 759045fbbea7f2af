"""D-optimal designs: of many candidate mixtures, those runs that tell the coefficients of a law most precisely.

A law that is linear in its coefficients b, y = X b + noise, is estimated with covariance proportional to (X'X)^-1; a
D-optimal design makes det(X'X) largest. The laws here are Scheffé's polynomials for mixtures (Scheffé 1958): as
weights sum to 1 they have no constant, and no squares.
"""

import math
from typing import Literal

import numpy as np

from flan_jax.errors import UserError

Degree = Literal[1, 2]

STARTS = 5
"""Random designs that the exchange begins from; the best end is returned."""
_SMALLEST_GAIN = 1e-9
_LEVELING = 1e-8
"""Added to X'X while runs are exchanged: a random design may be singular, and an exchange leads out of it."""


def scheffe_terms(weights: np.ndarray, degree: int) -> np.ndarray:
    """Expands weights into the terms of Scheffé's polynomial: p_i, and for degree 2 also p_i p_j with i < j.

    Args:
        weights: [n, K] on the simplex.
        degree: 1 or 2.

    Returns:
        [n, K] or [n, K(K+1)/2].

    >>> scheffe_terms(np.array([[0.5, 0.5, 0.0]]), 2)
    array([[0.5 , 0.5 , 0.  , 0.25, 0.  , 0.  ]])
    """
    if degree not in (1, 2):
        raise UserError(f"A design is for a law of degree 1 (linear) or 2 (quadratic), not {degree}.")
    if degree == 1:
        return weights
    first, second = np.triu_indices(weights.shape[1], k=1)
    return np.concatenate([weights, weights[:, first] * weights[:, second]], axis=1)


def d_optimal(candidates: np.ndarray, count: int, *, degree: int, seed: int, starts: int = STARTS) -> np.ndarray:
    """Chooses runs by Fedorov's exchange (Fedorov 1972): the swap that raises det(X'X) most, until none does.

    Replacing run i by candidate j multiplies the determinant by 1 + d(j) - d(j)d(i) + d(i,j)² - d(i), where
    d(i,j) = x_i' (X'X)^-1 x_j and d(i) = d(i,i). A candidate may be chosen more than once: such runs are replicates.

    Args:
        candidates: [N, K] mixtures on the simplex, as many as are worth considering (vertices, blends, random draws).
        count: runs to choose, at least as many as the law has coefficients (K, or K(K+1)/2).
        degree: 1 for Scheffé's linear law, 2 for the quadratic one.
        seed: of the random designs that the exchange begins from.
        starts: how many of these.

    Returns:
        [count] places in ``candidates``, ascending.

    Raises:
        UserError: fewer runs than coefficients, or candidates that cannot tell the coefficients apart.
    """
    terms = scheffe_terms(np.asarray(candidates, np.float64), degree)
    coefficients = terms.shape[1]
    law = f"{'linear' if degree == 1 else 'quadratic'} law of {candidates.shape[1]} weights"
    if count < coefficients:
        raise UserError(
            f"A {law} has {coefficients} coefficients, and {count} runs cannot tell them. Ask for at least {coefficients} runs."
        )
    rank = int(np.linalg.matrix_rank(terms))
    if rank < coefficients:
        raise UserError(
            f"The {len(terms)} candidates tell {rank} of the {coefficients} coefficients of a {law} apart. "
            "Widen the space, or give more candidates."
        )
    # In coordinates where the candidates' own X'X is the identity, the exchange is well conditioned. The determinant
    # of every design changes by one constant.
    scaled = np.linalg.qr(terms)[0] * math.sqrt(len(terms))
    generator = np.random.default_rng(np.random.SeedSequence((seed, count, degree)))
    ends = [_exchanged(scaled, generator.choice(len(terms), count, replace=count > len(terms))) for _ in range(starts)]
    return np.sort(max(ends, key=lambda chosen: _log_determinant(scaled[chosen])))


def d_efficiency(design: np.ndarray, reference: np.ndarray, *, degree: int) -> float:
    """Compares two designs: (det(X'X / n) of the first over that of the second)^(1 / coefficients).

    A design of efficiency 0.5 needs twice the runs of the reference for coefficients as precise.

    Args:
        design: [n, K] mixtures.
        reference: [m, K] mixtures.
        degree: 1 or 2.
    """
    first, second = (scheffe_terms(np.asarray(own, np.float64), degree) for own in (design, reference))
    logs = [_log_determinant(own / math.sqrt(len(own))) for own in (first, second)]
    return math.exp((logs[0] - logs[1]) / first.shape[1])


def _exchanged(terms: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Exchanges runs until no swap raises the determinant."""
    chosen = start.copy()
    while True:
        own = terms[chosen]
        inverse = np.linalg.inv(own.T @ own + _LEVELING * np.eye(terms.shape[1]))
        crossed = own @ inverse @ terms.T  # [count, N]
        of_candidates = np.einsum("np,pq,nq->n", terms, inverse, terms, optimize=True)
        of_chosen = of_candidates[chosen]
        gains = of_candidates[None] - of_chosen[:, None] * of_candidates[None] + crossed**2 - of_chosen[:, None]
        best = int(np.argmax(gains))
        if gains.flat[best] <= _SMALLEST_GAIN:
            return chosen
        chosen[best // len(terms)] = best % len(terms)


def _log_determinant(terms: np.ndarray) -> float:
    sign, logarithm = np.linalg.slogdet(terms.T @ terms)
    return float(logarithm) if sign > 0 else -math.inf
