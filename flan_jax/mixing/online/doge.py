"""DoGE (arXiv 2310.15393): weights toward the units whose gradients agree with those of all others."""

import dataclasses
from typing import ClassVar, Literal

import numpy as np

from flan_jax.mixing.online.method import AppliedTo, Observed, WeightingMethod, softmax
from flan_jax.typed import Above0

LARGEST_SCORE = 5.0
"""Above it the authors' repository cuts scores off; below 0 likewise."""
_LEAST = 1e-300
"""Of a weight whose logarithm is taken."""


@dataclasses.dataclass
class DoGE(WeightingMethod):
    """Weights of a proxy's loss, moved toward the units whose gradient lowers the loss of all units.

    Before a step, with g_i the gradient of unit i's mean loss on its batch, K units and a the weights:

        paper        s_i = <g_i, sum_j g_j>                                           a = softmax(log a + h s)
        repository   s_i = clip(<g_i, sum_j g_j - g_i> / (mean_j |g_j| + 1e-6), 0, 5)

    The step's loss counts a token of unit i a_i / s'_i times, s' being the shares of the draws. The result is the mean
    of a over all updates, and the mixture's weights for a final run. A unit without a token in the batch has no
    gradient: its score is 0. The units are their own targets (the paper's universal generalization).

    Attributes:
        variant: ``paper`` is the paper's update; ``repository`` what the authors' code computes.
        rate: h, the learning rate over the paper's mu: 5e-4 over 0.01 in the repository, whose learning rate
            falls with the run's.
    """

    observes: ClassVar[Observed] = "gradient_products"
    applies_to: ClassVar[AppliedTo] = "loss"

    variant: Literal["paper", "repository"] = "repository"
    rate: Above0 = 0.05

    def begin(self, weights: np.ndarray) -> None:
        """Begins with equal weights, as the paper does."""
        self.weights = np.full(len(weights), 1 / len(weights))
        self.summed, self.updates = np.zeros(len(weights)), 0

    def update(self, losses: np.ndarray, step: int) -> np.ndarray:
        """Moves the weights by the inner products [U, U] of the units' gradients."""
        squares = np.diag(losses)
        products = losses if np.isfinite(squares).all() else np.nan_to_num(losses)
        scores = products.sum(axis=1)
        if self.variant == "repository":
            norm = np.sqrt(squares[np.isfinite(squares)]).mean() + 1e-6
            scores = np.clip((scores - np.diag(products)) / norm, 0.0, LARGEST_SCORE)
        self.weights = softmax(np.log(np.maximum(self.weights, _LEAST)) + self.rate * scores)
        self.summed, self.updates = self.summed + self.weights, self.updates + 1
        return self.weights

    @property
    def initial_weights(self) -> np.ndarray:
        """[U] equal weights."""
        return self.weights

    @property
    def result(self) -> np.ndarray | None:
        """[U] the mean of the weights."""
        return self.summed / self.updates if self.updates else None
