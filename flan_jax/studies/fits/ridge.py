"""Ridge regression on Scheffé's polynomials of the weights, linear or quadratic; the penalty by leave-one-out error."""

import dataclasses
from typing import Any

import numpy as np

from flan_jax.studies.designs.d_optimal import scheffe_terms
from flan_jax.studies.fits.family import PredictedLosses, Scale

PENALTIES = np.logspace(-4, 4, 17)
"""For standardized terms and losses, as a multiple of a run's share of the squares."""


@dataclasses.dataclass(frozen=True)
class FittedRidge:
    """A fitted ridge of scikit-learn, on standardized terms and losses."""

    degree: int
    penalty: float
    scale: Scale
    terms: "Terms"
    ridge: Any

    def predict(self, weights: np.ndarray) -> PredictedLosses:
        """Predicts losses, [m]."""
        return PredictedLosses(self.scale.original(self.ridge.predict(self.terms.standard(weights, self.degree))))

    def refit(self, weights: np.ndarray, losses: np.ndarray) -> "FittedRidge":
        """Fits other runs with the same penalty."""
        from sklearn.linear_model import Ridge

        terms = Terms.of(weights, self.degree)
        ridge = Ridge(alpha=self.penalty).fit(terms.standard(weights, self.degree), self.scale.standard(losses))
        return dataclasses.replace(self, terms=terms, ridge=ridge)


@dataclasses.dataclass(frozen=True)
class Terms:
    """Mean and spread of the polynomial's terms, [terms] each; a term that does not vary has spread 1."""

    mean: np.ndarray
    spread: np.ndarray

    @staticmethod
    def of(weights: np.ndarray, degree: int) -> "Terms":
        """Measures the terms of some runs."""
        terms = scheffe_terms(weights, degree)
        spread = terms.std(axis=0)
        return Terms(terms.mean(axis=0), np.where(spread > 1e-12, spread, 1.0))

    def standard(self, weights: np.ndarray, degree: int) -> np.ndarray:
        """Returns terms without their mean and spread, [n, terms]."""
        return (scheffe_terms(weights, degree) - self.mean) / self.spread


@dataclasses.dataclass(frozen=True)
class RidgeFamily:
    """Ridge on terms of one degree."""

    degree: int
    smooth: bool = True

    @property
    def name(self) -> str:
        """``ridge_linear`` or ``ridge_quadratic``."""
        return "ridge_linear" if self.degree == 1 else "ridge_quadratic"

    @property
    def packages(self) -> dict[str, str]:
        """scikit-learn."""
        return {"sklearn": "scikit-learn"}

    @property
    def about(self) -> str:
        """One line."""
        terms = "p_i" if self.degree == 1 else "p_i and p_i·p_j"
        return f"Scheffé's polynomial in {terms}, ridge, penalty by leave-one-out error"

    def runs_needed(self, units: int) -> int:
        """As many as terms."""
        return units if self.degree == 1 else units * (units + 1) // 2

    def fit(self, weights: np.ndarray, losses: np.ndarray, *, seed: int) -> FittedRidge:
        """Fits with the penalty of least leave-one-out error; nothing is drawn."""
        from sklearn.linear_model import RidgeCV

        scale, terms = Scale.of(losses), Terms.of(weights, self.degree)
        ridge = RidgeCV(alphas=PENALTIES).fit(terms.standard(weights, self.degree), scale.standard(losses))
        return FittedRidge(self.degree, float(ridge.alpha_), scale, terms, ridge)
