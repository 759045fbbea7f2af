"""Constraints on a proposed mixture: the simplex, and a limit on how often each unit's examples are seen."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from flan_jax.errors import UserError, unknown

_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Limits:
    """The largest share of each unit, p_i <= caps_i, and the prior that a proposal is pulled to.

    Attributes:
        units: names of the K units.
        caps: [K], from 0 to 1.
        prior: [K], on the simplex and within the caps.
    """

    units: tuple[str, ...]
    caps: np.ndarray
    prior: np.ndarray

    @staticmethod
    def of(units: Sequence[str], prior: np.ndarray, caps: np.ndarray | None = None) -> "Limits":
        """Makes limits; where the prior breaks a cap, the rest of it is raised in proportion.

        Raises:
            UserError: all caps together leave less than the whole mixture.
        """
        highest = np.ones(len(units)) if caps is None else np.minimum(caps, 1.0)
        highest = np.where(prior > 0, highest, 0.0)
        if highest.sum() < 1 - _TOLERANCE:
            raise UserError(
                f"Within the limits on repeats the units fill only {100 * highest.sum():.1f}% of the run. Allow more "
                "repeats (--repeats), shorten the run (--target_tokens), or add data."
            )
        return Limits(tuple(units), highest, within(prior, highest))


def repeat_caps(
    units: Sequence[str], tokens: Mapping[str, float], *, repeats: float, target_tokens: float
) -> np.ndarray:
    """Returns the share at which each unit is repeated so often: repeats · tokens_i / target tokens, at most 1.

    Args:
        units: names.
        tokens: unit → tokens of all its examples, once.
        repeats: how often an example may be seen in the confirming run.
        target_tokens: tokens of the confirming run.

    Raises:
        UserError: a unit has no tokens said, or a number is not positive.
    """
    for name, value in (("repeats", repeats), ("target_tokens", target_tokens)):
        if not value > 0:
            raise UserError(f"--{name} is {value:g}, which must be above 0.")
    for unit in tokens:
        if unit not in units:
            raise unknown("unit in --tokens", unit, units)
    missing = [unit for unit in units if unit not in tokens]
    if missing:
        raise UserError(
            f"--tokens says nothing of the unit {missing[0]!r}, so its limit on repeats is not known. Name it too."
        )
    return np.minimum(np.array([repeats * tokens[unit] / target_tokens for unit in units]), 1.0)


def within(weights: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """Brings mixtures within caps: what is above is cut, and the rest raised in proportion until all sums to 1.

    This is the mixture within the caps that is nearest in KL divergence. Where all that is left has weight 0, the rest
    goes to it in proportion to the caps.

    Args:
        weights: [..., K] on the simplex.
        caps: [K], whose sum is at least 1.

    >>> within(np.array([0.8, 0.1, 0.1]), np.array([0.5, 1.0, 0.2]))
    array([0.5, 0.3, 0.2])
    """
    found = np.array(weights, np.float64)
    for _ in range(len(caps) + 1):
        full = found >= caps - 1e-15
        found = np.where(full, caps, found)
        left = 1 - np.where(full, caps, 0.0).sum(axis=-1, keepdims=True)
        rest = np.where(full, 0.0, found)
        total = rest.sum(axis=-1, keepdims=True)
        # Units of weight 0 with room take over where nothing else is left to raise.
        room = np.where(full, 0.0, caps)
        spread = room / np.maximum(room.sum(axis=-1, keepdims=True), 1e-300)
        raised = np.where(total > 1e-12, rest / np.maximum(total, 1e-300), spread) * left
        found = np.where(full, caps, raised)
        if (found <= caps + 1e-12).all():
            break
    return np.minimum(found, caps)


def kl_divergence(weights: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Returns KL(p‖prior) in nats, Σ p_i log(p_i / prior_i), with 0 log 0 = 0: [...]."""
    positive = weights > 0
    ratio = np.where(positive, weights, 1.0) / np.where(positive, np.maximum(prior, 1e-300), 1.0)
    return np.where(positive, weights * np.log(ratio), 0.0).sum(axis=-1)
