"""From the sizes of tasks to their rates in a mixture, and from rates to shares.

A policy gives every task a rate, an explicit number overrides it, and the shares are the rates
divided by their sum. As in seqio, an explicit rate is therefore in the policy's own unit:
examples under ``Proportional`` at temperature 1, equal parts under ``Equal``. ``UniMax`` spreads one
budget over all of its tasks, so beside it an explicit rate can only be 0.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from flan_jax.errors import UserError, unknown


@runtime_checkable
class Policy(Protocol):
    """Gives tasks their rates. A class of one's own needs this method only."""

    def rates(self, sizes: Mapping[str, float]) -> dict[str, float]:
        """The rate of every task, not normalised.

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


def caps(policy: Policy, sizes: Mapping[str, float]) -> dict[str, float]:
    """The limits that a policy holds tasks to, for those that it does hold, in the unit of sizes.

    >>> caps(Proportional(cap=3000), {"small": 1000, "large": 90_000})
    {'large': 3000}
    """
    match policy:
        case Proportional(cap=cap, scale=scale) if cap is not None:
            return {name: cap for name, size in sizes.items() if scale * size > cap}
        case UniMax(max_epochs=epochs):
            rate = policy.rates(sizes)
            return {name: epochs * size for name, size in sizes.items() if rate[name] == epochs * size}
    return {}


def check_explicit(policy: Policy, explicit: Mapping[str, float]) -> None:
    """Whether these rates can stand beside what the policy gives to other tasks.

    Raises:
        UserError: a rate that is negative or not finite, or above 0 beside ``UniMax``.
    """
    for name, rate in explicit.items():
        _check_rate(name, rate)
        if rate and isinstance(policy, UniMax):
            raise UserError(
                f"Task {name!r} has the rate {rate:g}, but UniMax spreads its budget over all tasks. Remove the rate, "
                "set it to 0 to leave the task out, or nest the tasks that UniMax is for as a mixture of their own."
            )


def rates(policy: Policy, sizes: Mapping[str, float], explicit: Mapping[str, float]) -> dict[str, float]:
    """The rate of every task, before normalising.

    Args:
        policy: decides for each task that ``explicit`` does not name, and sees the sizes of these.
        sizes: task → how much there is of it, in the order of the result.
        explicit: task → its own rate; 0 leaves the task out.

    Raises:
        UserError: no tasks; an unknown task in ``explicit``; a rate that is negative or not finite;
            a task that has no examples but is to be drawn from; as ``check_explicit``.
    """
    if not sizes:
        raise UserError("A mixture needs at least one task to have rates.")
    for name in explicit:
        if name not in sizes:
            raise unknown("task in the explicit rates", name, sizes)
    check_explicit(policy, explicit)
    for name, size in sizes.items():
        if not size >= 0 or size == math.inf:
            raise UserError(f"Task {name!r} has the size {size}, which must be a finite number of at least 0.")
        if size == 0 and explicit.get(name) != 0.0:
            raise UserError(
                f"Task {name!r} has no examples, so nothing can be drawn from it. "
                "Check its source and split, or leave it out with the rate 0."
            )
    decided = {name: size for name, size in sizes.items() if name not in explicit}
    given = policy.rates(decided) if decided else {}
    if set(given) != set(decided):
        raise UserError(f"{policy!r} must give a rate to each of the {len(decided)} tasks it was asked for, by name.")
    for name, rate in given.items():
        _check_rate(name, rate)
    return {name: float(explicit[name] if name in explicit else given[name]) for name in sizes}


def normalize(rates_by_task: Mapping[str, float]) -> dict[str, float]:
    """Rates divided by their sum.

    Raises:
        UserError: a rate that is negative or not finite, or all of them zero.
    """
    for name, value in rates_by_task.items():
        _check_rate(name, value)
    values = np.array(list(rates_by_task.values()), dtype=np.float64)
    if not values.size or values.max() == 0.0:
        raise UserError("Every task has the rate 0, so nothing would be drawn. Give at least one task a positive rate.")
    # A power of two changes no digit, and keeps the sum of very large rates finite.
    values = np.ldexp(values, -np.frexp(values.max())[1])
    return dict(zip(rates_by_task, (values / math.fsum(values)).tolist(), strict=True))


def weights(policy: Policy, sizes: Mapping[str, float], explicit: Mapping[str, float]) -> dict[str, float]:
    """The share that each task gets, in the unit of sizes; the shares sum to 1.

    >>> weights(Proportional(cap=3000), {"small": 1000, "large": 90_000}, {})
    {'small': 0.25, 'large': 0.75}

    Args:
        policy: decides for each task that ``explicit`` does not name.
        sizes: task → how much there is of it, in the order of the result.
        explicit: task → its own rate, in the policy's unit; 0 leaves the task out.

    Raises:
        UserError: as ``rates`` and ``normalize``.
    """
    return normalize(rates(policy, sizes, explicit))


def _check_rate(name: str, rate: float) -> None:
    if not math.isfinite(rate) or rate < 0:
        raise UserError(f"Task {name!r} has the rate {rate}, which must be a finite number of at least 0.")


def _check_positive(policy: Policy, *attributes: str) -> None:
    for attribute in attributes:
        value = getattr(policy, attribute)
        if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise UserError(f"{type(policy).__name__}({attribute}={value!r}) must be a positive number.")
