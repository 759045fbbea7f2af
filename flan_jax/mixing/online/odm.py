"""Online data mixing (ODM, arXiv 2312.02406): units of high loss are drawn more, by a bandit."""

import dataclasses
import math
from typing import Literal

import numpy as np

from flan_jax.errors import UserError
from flan_jax.mixing.online.method import WeightingMethod, softmax
from flan_jax.typed import Fraction

Variant = Literal["paper", "exp3", "smoothed_mean"]


@dataclasses.dataclass
class OnlineDataMixing(WeightingMethod):
    """Exp3 with the loss as the reward of drawing a unit.

    With K units of weights p and loss L, and e(t) = min(1/K, sqrt(ln K / (K t))), each variant sets
    R for the units seen, and then p:

        paper          R = b R + (1 - b) L / p        p = (1 - K e(t+1)) softmax(e(t) R) + e(t+1)
        exp3           R = R + (L / 10) / p           p = (1 - K e(t)) softmax(e' R) + e(t)
        smoothed_mean  R = b R + (1 - b) exp(L)       p = (1 - K e(t)) R / sum(R) + e(t)

    ``paper`` is the paper's algorithm, whose t counts updates, the weights of turn t + 1 being made of the
    rewards of turn t. ``exp3`` and ``smoothed_mean`` are what the authors' repository computes: t counts
    steps, and e' is the e of the update before, 1/K at first.

    Attributes:
        variant: one of the three.
        smoothing: b, how much of the old rewards is kept; ``exp3`` adds up and does not read it.
    """

    variant: Variant = "paper"
    smoothing: Fraction = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.variant == "exp3" and self.smoothing != type(self).smoothing:
            raise UserError(
                f"OnlineDataMixing.smoothing is {self.smoothing}, but variant 'exp3' adds rewards up and reads none. Leave it out."
            )

    def begin(self, weights: np.ndarray) -> None:
        """Begins without rewards; the weights of the first period are the mixture's own."""
        self.weights, self.rewards = weights, np.zeros(len(weights))
        self.updates, self.exploration = 0, 1 / len(weights)

    def update(self, losses: np.ndarray, step: int) -> np.ndarray:
        """Rewards what was seen, and draws what is rewarded."""
        seen = np.isfinite(losses)
        self.updates += 1
        reward = {"paper": losses / self.weights, "exp3": losses / 10 / self.weights, "smoothed_mean": np.exp(losses)}
        kept, added = (1.0, 1.0) if self.variant == "exp3" else (self.smoothing, 1 - self.smoothing)
        self.rewards = np.where(seen, kept * self.rewards + added * reward[self.variant], self.rewards)
        if self.variant == "paper":
            before, now = self._exploration(self.updates), self._exploration(self.updates + 1)
        else:
            before, now = self.exploration, self._exploration(step)
        self.exploration = now
        total = self.rewards.sum()
        if self.variant != "smoothed_mean":
            favored = softmax(before * self.rewards)
        else:
            favored = self.rewards / total if total else self.weights
        self.weights = (1 - len(losses) * now) * favored + now
        self.weights = self.weights / self.weights.sum()
        return self.weights

    def _exploration(self, turn: int) -> float:
        """The least weight of a unit: e(t)."""
        units = len(self.weights)
        return min(1 / units, math.sqrt(math.log(units) / (units * turn)))
