"""From the sizes of tasks to their shares of a mixture.

A policy gives every task a rate, an explicit number overrides it, and the shares are the rates
divided by their sum. As in seqio, an explicit rate is therefore in the policy's own unit:
examples under ``Proportional`` at temperature 1, equal parts under ``Equal``.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from flan_jax.errors import UserError, unknown


@dataclasses.dataclass(frozen=True, slots=True)
class Proportional:
    """Rates that grow with size: ``min(scale · n, cap) ** (1 / temperature)``.

    The formula of T5 (arXiv 1910.10683, section 3.5.2), in seqio's order: scale, cap, temperature.

    Attributes:
        cap: the largest scaled size that counts, in examples; ``None`` for no cap.
        temperature: 1 keeps proportions, larger ones flatten them.
        scale: multiplies every size before the cap.
    """

    cap: int | None = None
    temperature: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("cap", "temperature", "scale"):
            value = getattr(self, name)
            if value is None and name == "cap":
                continue
            if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
                raise UserError(f"Proportional({name}={value!r}) must be a positive number.")

    def rate(self, size: int) -> float:
        """The rate of a task of ``size`` examples, not yet normalised."""
        scaled = size * float(self.scale)
        if self.cap is not None:
            scaled = min(scaled, float(self.cap))
        try:
            return scaled ** (1.0 / self.temperature)
        except OverflowError as error:
            raise UserError(
                f"Proportional(temperature={self.temperature}) makes the rate of {size} examples overflow. "
                "Use a temperature nearer to 1."
            ) from error


@dataclasses.dataclass(frozen=True, slots=True)
class Equal:
    """The same rate for every task, whatever its size."""

    def rate(self, size: int) -> float:
        """1, for every size."""
        del size
        return 1.0


Policy = Proportional | Equal


def rates(policy: Policy, sizes: Mapping[str, int], explicit: Mapping[str, float]) -> dict[str, float]:
    """The rate of every task, before normalising.

    Args:
        policy: decides for each task that ``explicit`` does not name.
        sizes: task → number of examples, in the order of the result.
        explicit: task → its own rate; 0 leaves the task out.

    Raises:
        UserError: no tasks; an unknown task in ``explicit``; a rate that is negative or not finite;
            a task that has no examples but is to be drawn from.
    """
    if not sizes:
        raise UserError("A mixture needs at least one task to have rates.")
    for name in explicit:
        if name not in sizes:
            raise unknown("task in the explicit rates", name, sizes)
    result: dict[str, float] = {}
    for name, size in sizes.items():
        if size < 0:
            raise UserError(f"Task {name!r} has the size {size}, which must not be negative.")
        rate = float(explicit[name]) if name in explicit else None
        if rate is not None and (not math.isfinite(rate) or rate < 0):
            raise UserError(f"Task {name!r} has the rate {rate}, which must be a finite number of at least 0.")
        if size == 0 and rate != 0.0:
            raise UserError(
                f"Task {name!r} has no examples, so nothing can be drawn from it. "
                "Check its source and split, or leave it out with the rate 0."
            )
        result[name] = policy.rate(size) if rate is None else rate
    return result


def normalise(rates_by_task: Mapping[str, float]) -> dict[str, float]:
    """Rates divided by their sum.

    Raises:
        UserError: a rate that is negative or not finite, or all of them zero.
    """
    values = np.array(list(rates_by_task.values()), dtype=np.float64)
    for name, value in rates_by_task.items():
        if not math.isfinite(value) or value < 0:
            raise UserError(f"Task {name!r} has the rate {value}, which must be a finite number of at least 0.")
    if not values.size or values.max() == 0.0:
        raise UserError("Every task has the rate 0, so nothing would be drawn. Give at least one task a positive rate.")
    # A power of two changes no digit, and keeps the sum of very large rates finite.
    values = np.ldexp(values, -np.frexp(values.max())[1])
    return dict(zip(rates_by_task, (values / math.fsum(values)).tolist(), strict=True))


def weights(policy: Policy, sizes: Mapping[str, int], explicit: Mapping[str, float]) -> dict[str, float]:
    """The share of draws that each task gets; the shares sum to 1.

    >>> weights(Proportional(cap=3000), {"small": 1000, "large": 90_000}, {})
    {'small': 0.25, 'large': 0.75}

    Args:
        policy: decides for each task that ``explicit`` does not name.
        sizes: task → number of examples, in the order of the result.
        explicit: task → its own rate, in the policy's unit; 0 leaves the task out.

    Raises:
        UserError: as ``rates`` and ``normalise``.
    """
    return normalise(rates(policy, sizes, explicit))
