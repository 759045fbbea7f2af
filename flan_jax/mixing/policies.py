"""Mixing policies: the sampling rates of tasks by their sizes.

A policy gives a rate to every entry of a mixture that has none of its own; ``flan_jax.mixing.resolve`` makes
shares of them. As in seqio, an explicit rate is in the policy's own unit: examples under ``Proportional`` at
temperature 1, equal parts under ``Equal``. ``UniMax`` spreads one budget over all of its tasks, so beside it
an explicit rate can only be 0.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from flan_jax.errors import UserError


@runtime_checkable
class Policy(Protocol):
    """The protocol of a mixing policy. A class of one's own needs this method only."""

    def rates(self, sizes: Mapping[str, float]) -> dict[str, float]:
        """Computes the rate of every task, not normalized.

        Args:
            sizes: task → how much there is of it: examples, or tokens where the mixture counts
                tokens. All the tasks that have no rate of their own, and only these.
        """


@dataclasses.dataclass(frozen=True, slots=True)
class Proportional:
    """Rates that grow with size: ``min(scale · n, cap) ** (1 / temperature)``.

    The formula of T5 (arXiv 1910.10683, section 3.5.2), in seqio's order: scale, cap, temperature.

    Attributes:
        cap: the largest scaled size that counts, in the unit of sizes; ``None`` for no cap.
        temperature: 1 keeps proportions, larger ones flatten them.
        scale: multiplies every size before the cap.
    """

    cap: int | None = None
    temperature: float = 1.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check_positive(self, "temperature", "scale", *(() if self.cap is None else ("cap",)))

    def rates(self, sizes: Mapping[str, float]) -> dict[str, float]:
        """Task → rate.

        >>> Proportional(cap=3000).rates({"small": 1000, "large": 90_000})
        {'small': 1000.0, 'large': 3000.0}

        Raises:
            UserError: the temperature is so low that a rate overflows.
        """
        return {name: self._rate(size) for name, size in sizes.items()}

    def _rate(self, size: float) -> float:
        scaled = size * float(self.scale)
        if self.cap is not None:
            scaled = min(scaled, float(self.cap))
        try:
            return scaled ** (1.0 / self.temperature)
        except OverflowError as error:
            raise UserError(
                f"Proportional(temperature={self.temperature}) makes the rate of a task of size {size:,} overflow. "
                "Use a temperature nearer to 1."
            ) from error


@dataclasses.dataclass(frozen=True, slots=True)
class Equal:
    """The same rate for every task, whatever its size."""

    def rates(self, sizes: Mapping[str, float]) -> dict[str, float]:
        """Task → 1."""
        return dict.fromkeys(sizes, 1.0)


@dataclasses.dataclass(frozen=True, slots=True)
class UniMax:
    """As equal as a limit on repetition allows (UniMax, arXiv 2304.09151, algorithm 1).

    A budget is spread evenly, but no task gets more than ``max_epochs`` times its size; what small
    tasks cannot take is spread evenly over the larger ones. In a run as long as the budget, no
    task is therefore gone through more than ``max_epochs`` times.

    Where the budget is more than ``max_epochs`` epochs of everything, all tasks are held to the
    limit: rates are ``max_epochs · size``, shares are proportional to size, and a run as long as
    the budget repeats all tasks equally often, more than ``max_epochs`` times. Lower the budget or
    raise ``max_epochs`` where that is not meant.

    Attributes:
        max_epochs: how often a task may be gone through within the budget.
        budget: length of the run, in the unit of sizes: examples, or tokens where the mixture
            counts tokens.
    """

    max_epochs: float
    budget: float

    def __post_init__(self) -> None:
        _check_positive(self, "max_epochs", "budget")

    def rates(self, sizes: Mapping[str, float]) -> dict[str, float]:
        """Task → its part of the budget.

        >>> UniMax(max_epochs=4, budget=1000).rates({"tiny": 10, "small": 300, "large": 90_000})
        {'tiny': 40.0, 'small': 480.0, 'large': 480.0}
        """
        left, tasks = self.budget, len(sizes)
        for size in sorted(sizes.values()):
            if self.max_epochs * size > left / tasks:
                break
            left -= self.max_epochs * size
            tasks -= 1
        # All tasks that are left get the same, so neither order nor ties change a digit.
        even = left / tasks if tasks else math.inf
        return {name: float(min(self.max_epochs * size, even)) for name, size in sizes.items()}


def _check_positive(policy: Policy, *attributes: str) -> None:
    for attribute in attributes:
        value = getattr(policy, attribute)
        if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise UserError(f"{type(policy).__name__}({attribute}={value!r}) must be a positive number.")
