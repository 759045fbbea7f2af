"""Ridge regression on Scheffé's polynomials of the weights, linear or quadratic; the penalty by leave-one-out error."""

import dataclasses
from typing import Any

import numpy as np

from flan_jax.studies.designs.d_optimal import scheffe_terms
from flan_jax.studies.fits.family import Prediction, Scale

PENALTIES = np.logspace(-4, 4, 17)
"""For standardized terms and losses, as a multiple of a run's share of the squares."""


@dataclasses.dataclass(frozen=True)
class FittedRidge:
    """A fitted pipeline of scikit-learn (standardized terms, ridge) and what it needs to be made again."""

    degree: int
    penalty: float
    scale: Scale
    pipeline: Any

    def predict(self, weights: np.ndarray) -> Prediction:
        """Predicts losses, [m]."""
        return Prediction(self.scale.original(self.pipeline.predict(scheffe_terms(weights, self.degree))))

    def refit(self, weights: np.ndarray, losses: np.ndarray) -> "FittedRidge":
        """Fits other runs with the same penalty."""
        from sklearn.linear_model import Ridge

        pipeline = _pipeline(Ridge(alpha=self.penalty))
        pipeline.fit(scheffe_terms(weights, self.degree), self.scale.standard(losses))
        return dataclasses.replace(self, pipeline=pipeline)


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

        scale = Scale.of(losses)
        pipeline = _pipeline(RidgeCV(alphas=PENALTIES))
        pipeline.fit(scheffe_terms(weights, self.degree), scale.standard(losses))
        return FittedRidge(self.degree, float(pipeline[-1].alpha_), scale, pipeline)


def _pipeline(regression: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), regression)
