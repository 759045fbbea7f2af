"""Draws from a Dirichlet distribution around a prior, inside bounds: RegMix's recipe (arXiv:2407.01492)."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy import special

from flan_jax.errors import UserError
from flan_jax.studies.designs.streams import Stream

DIGITS = 6
"""Weights are rounded to so many decimals, so that the last bits of a machine's logarithms decide nothing."""
_SLACK = 1e-6
_BLOCK, _LARGEST_BLOCK = 4, 256


@dataclasses.dataclass(frozen=True)
class Simplex:
    """Weights that can be drawn.

    With the prior p and the temperature τ, a draw is Dirichlet(s · p^τ / Σ p^τ) with s drawn from ``strengths`` values
    spaced evenly in their logarithm; what is outside the bounds is drawn again, what is below ``min_weight`` becomes 0.

    Attributes:
        prior: unit → share; they sum to 1.
        temperature: τ; 1 keeps the prior, less flattens it.
        strength: the least and the largest s: a small one draws corners, a large one draws near the prior.
        strengths: how many values of s there are.
        min_weight: what is less is no weight at all.
        lowest: unit → the least weight.
        highest: unit → the largest weight.
        tries: so many draws at most until one is inside.
    """

    prior: Mapping[str, float]
    temperature: float = 0.5
    strength: tuple[float, float] = (0.1, 5.0)
    strengths: int = 15
    min_weight: float = 2e-4
    lowest: Mapping[str, float] = dataclasses.field(default_factory=dict)
    highest: Mapping[str, float] = dataclasses.field(default_factory=dict)
    tries: int = 10_000

    @property
    def units(self) -> tuple[str, ...]:
        """The units by name, the order in which numbers are drawn for them."""
        return tuple(sorted(self.prior))

    @property
    def base(self) -> np.ndarray:
        """The tempered prior by ``units``, float64 [K]; it sums to 1."""
        values = np.array([self.prior[unit] for unit in self.units], np.float64)
        tempered = np.where(values > 0, np.maximum(values, 1e-300) ** self.temperature, 0.0)
        return tempered / tempered.sum()

    @property
    def strength_values(self) -> np.ndarray:
        """The values of s, float64 [strengths]."""
        low, high = self.strength
        return np.geomspace(low, high, self.strengths) if low < high else np.full(1, low)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the least and the largest weights by ``units``, float64 [K] each.

        Raises:
            UserError: no weights can be inside them.
        """
        low = np.array([self.lowest.get(unit, 0.0) for unit in self.units], np.float64)
        high = np.array([min(self.highest.get(unit, 1.0), 1.0) for unit in self.units], np.float64)
        for unit, least, most in zip(self.units, low, high, strict=True):
            if least > most + _SLACK:
                raise UserError(
                    f"The space has no valid point: {unit!r} would need a weight of at least {least:g} and at most {most:g}. "
                    "Widen its bounds."
                )
        if low.sum() > 1 + _SLACK:
            raise UserError(
                f"The space has no valid point: the least weights sum to {low.sum():g}, more than 1. Lower some, that of "
                f"{self.units[int(low.argmax())]!r} first ({low.max():g})."
            )
        if high.sum() < 1 - _SLACK:
            raise UserError(
                f"The space has no valid point: the largest weights sum to {high.sum():g}, less than 1. Raise some, that of "
                f"{self.units[int(high.argmin())]!r} first ({high.min():g})."
            )
        return low, high

    def draw(self, *names: object) -> dict[str, float]:
        """Draws weights: unit → share, in the prior's order; they sum to 1.

        Args:
            names: of the stream that decides them.

        Raises:
            UserError: as ``bounds``; or none of ``tries`` draws is inside, and the bound that refused most of them is named.
        """
        low, high = self.bounds()
        stream, alphas = Stream(*names), self.base
        tried, block, refused = 0, _BLOCK, np.zeros((2, len(alphas)), np.int64)
        while tried < self.tries:
            count = min(block, self.tries - tried)
            drawn = self._draws(stream, count, alphas)
            for raw in drawn:
                weights = self._cut(raw)
                # RegMix looks at the draw before small weights are cut; nothing is to leave the bounds by that either.
                outside = _outside(raw, low, high) | _outside(weights, low, high)
                if not outside.any():
                    found = dict(zip(self.units, weights.tolist(), strict=True))
                    return {unit: found[unit] for unit in self.prior}
                refused += outside
            tried, block = tried + count, min(2 * block, _LARGEST_BLOCK)
        raise self._no_point(refused, low, high)

    def _draws(self, stream: Stream, count: int, alphas: np.ndarray) -> np.ndarray:
        """So many draws, float64 [count, K], each from its own numbers of the stream: one for s, two for every unit."""
        numbers = stream.uniforms(count * (1 + 2 * len(alphas))).reshape(count, -1)
        values = self.strength_values
        strength = values[(numbers[:, 0] * len(values)).astype(np.int64)]
        shape = strength[:, None] * alphas
        first, second = np.split(numbers[:, 1:], 2, axis=1)
        # log Gamma(a) = log Gamma(a + 1) + log(U) / a: a gamma variable of a tiny shape is below every float.
        present = shape > 0
        safe = np.where(present, shape, 1.0)
        logs = np.log(special.gammaincinv(safe + 1.0, first)) + np.log(second) / safe
        logs = np.where(present, logs, -np.inf)
        return special.softmax(logs, axis=1)

    def _cut(self, weights: np.ndarray) -> np.ndarray:
        """Weights without those that are too small, rounded so that they sum to 1."""
        kept = np.where(weights < self.min_weight, 0.0, weights)
        rounded = np.round(kept / kept.sum(), DIGITS)
        largest = int(rounded.argmax())
        rounded[largest] = round(rounded[largest] + 1.0 - float(rounded.sum()), DIGITS)
        return rounded

    def _no_point(self, refused: np.ndarray, low: np.ndarray, high: np.ndarray) -> UserError:
        side, place = np.unravel_index(int(refused.argmax()), refused.shape)
        unit, bound = self.units[place], (low, high)[side][place]
        which = "at least" if side == 0 else "at most"
        return UserError(
            f"None of {self.tries:,} draws is inside the bounds of the space. The one that refused most of them, "
            f"{refused.max():,}, is {unit!r} {which} {bound:g}. Widen it, raise the strength, or raise the number of tries."
        )


def _outside(weights: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The bounds that weights are outside of: bool [2, K], below and above."""
    return np.stack([weights < low - _SLACK, weights > high + _SLACK])
