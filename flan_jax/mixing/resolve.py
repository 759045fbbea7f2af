"""Sizes to rates, rates to shares: what a mixture's declaration comes to once the sizes of its tasks are known.

A policy gives every entry a rate, an explicit number overrides it, and the shares are the rates divided by
their sum. A ``RateTree`` does so for a mixture of mixtures, in the units that these count in.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from flan_jax.errors import UserError, unknown
from flan_jax.mixing.policies import Policy, Proportional, UniMax
from flan_jax.mixing.units import Unit, from_draws, to_draws


def caps(policy: Policy, sizes: Mapping[str, float]) -> dict[str, float]:
    """Returns the limits of the tasks whose rates a policy caps, in the unit of sizes.

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
    """Checks that explicit rates can stand beside those that the policy gives to other tasks.

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
    """Computes the rate of every task, not normalized.

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
    """Divides rates by their sum.

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
    """Computes the share of each task, in the unit of sizes; the shares sum to 1.

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


@dataclasses.dataclass(frozen=True, slots=True)
class RateEntry:
    """An entry of a mixture, as its rates need it.

    Attributes:
        name: of the task or of the nested mixture.
        rate: its own, in the unit and policy of the mixture; ``None`` where the policy decides.
        drawn: the tasks it draws from; none where the rate is 0.
        nested: the nested mixture; ``None`` for a task.
        scale: multiplies the rate.
    """

    name: str
    rate: float | None
    drawn: tuple[str, ...]
    nested: "RateTree | None" = None
    scale: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class RateTree:
    """A mixture of tasks and mixtures as names, rates, policies and units.

    ``sizes`` is task → number of training examples, ``mean_tokens`` task → tokens of an example on average; see
    ``flan_jax.mixing.mixture.Mixture.rates``. Its errors are those of this class.

    Attributes:
        name: of the mixture.
        unit: what its rates count.
        policy: gives a rate to every entry without one.
        entries: what it draws from.
        tasks: all of its tasks, those of nested mixtures included, in the order of results.
        units: rates of groups of tasks, each with the names of its tasks, in the place of the entries' own.
    """

    name: str
    unit: Unit
    policy: Policy
    entries: tuple[RateEntry, ...]
    tasks: tuple[str, ...]
    units: tuple[tuple[float, tuple[str, ...]], ...] = ()

    @property
    def drawn(self) -> tuple[str, ...]:
        """Those of ``tasks`` that no rate of 0 leaves out."""
        drawn = {name for entry in self.entries for name in entry.drawn}
        return tuple(name for name in self.tasks if name in drawn)

    def rates(self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float]) -> dict[str, float]:
        """Task → rate in the mixture's unit, not normalized."""
        result = dict.fromkeys(self.tasks, 0.0)
        for parts in self._parts(sizes, mean_tokens).values():
            for name, rate in parts.items():
                result[name] += rate
        return result

    def weights(self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float]) -> dict[str, float]:
        """Task → share of draws, whatever the unit."""
        return self._shares(to_draws(self.unit, self.rates(sizes, mean_tokens), sizes, mean_tokens))

    def weights_of(
        self, explicit: Mapping[str, float], sizes: Mapping[str, int], mean_tokens: Mapping[str, float]
    ) -> dict[str, float]:
        """Task → share of draws by other rates, in the mixture's unit; tasks without one get none."""
        self._check_known(sizes, mean_tokens)
        return self._shares(to_draws(self.unit, {**dict.fromkeys(self.tasks, 0.0), **explicit}, sizes, mean_tokens))

    def entry_rates(self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float]) -> dict[str, float]:
        """Entry → rate in the mixture's unit, not normalized; a nested mixture is one entry."""
        if self.units:
            found = self._parts(sizes, mean_tokens)
            return {entry.name: math.fsum(found.get(entry.name, {}).values()) for entry in self.entries}
        return self._own_entry_rates(sizes, mean_tokens)

    def _own_entry_rates(self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float]) -> dict[str, float]:
        """As ``entry_rates``, by the entries and the policy alone."""
        explicit = {entry.name: entry.rate for entry in self.entries if entry.rate is not None}
        found = rates(self.policy, self._entry_sizes(sizes, mean_tokens), explicit)
        return {entry.name: found[entry.name] * entry.scale for entry in self.entries}

    def entry_weights(self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float]) -> dict[str, float]:
        """Entry → share of draws; a nested mixture is one entry."""
        draws = {
            name: math.fsum(to_draws(self.unit, parts, sizes, mean_tokens).values())
            for name, parts in self._parts(sizes, mean_tokens).items()
        }
        return self._shares(draws)

    def caps(self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float]) -> dict[str, float]:
        """Task → the limit that its rate was held to, in the unit of the mixture that lists it; the lowest of several.

        Rates of groups hold to no limit.
        """
        if self.units:
            return {}
        decided = {entry.name for entry in self.entries if entry.rate is None}
        own = {name: size for name, size in self._entry_sizes(sizes, mean_tokens).items() if name in decided}
        held = caps(self.policy, own)
        result: dict[str, float] = {}
        for entry in self.entries:
            if entry.nested is not None:
                found = entry.nested.caps(sizes, mean_tokens) if entry.rate != 0 else {}
            else:
                found = {name: held[name] for name in (entry.name,) if name in held}
            for name, cap in found.items():
                result[name] = min(cap, result.get(name, cap))
        return result

    def _entry_sizes(self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float]) -> dict[str, float]:
        """Entry → what the policy sees: examples, or tokens in that unit; 0 for what is left out."""
        self._check_known(sizes, mean_tokens)
        tokens = self.unit == "tokens"
        return {
            entry.name: sum(sizes[name] * mean_tokens[name] if tokens else sizes[name] for name in entry.drawn)
            for entry in self.entries
        }

    def _parts(self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float]) -> dict[str, dict[str, float]]:
        """Entry → task → what the entry adds to the task's rate, in this mixture's unit."""
        inside = {
            entry.name: self._inside(entry.nested, sizes, mean_tokens)
            for entry in self.entries
            if entry.nested is not None and entry.rate != 0
        }
        own = self._own_entry_rates(sizes, mean_tokens)
        found = {
            entry.name: {
                name: own[entry.name] * part for name, part in inside.get(entry.name, {entry.name: 1.0}).items()
            }
            for entry in self.entries
            if entry.name in inside or entry.nested is None
        }
        return self._by_units(found) if self.units else found

    def _by_units(self, own: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
        """Scales the tasks of every group alike, so that together they have the group's rate."""
        sums = dict.fromkeys(self.tasks, 0.0)
        for parts in own.values():
            for name, rate in parts.items():
                sums[name] += rate
        # What belongs to no group has no rate of its own to be drawn by.
        factors = dict.fromkeys(self.tasks, 0.0)
        for rate, tasks in self.units:
            whole = math.fsum(sums[name] for name in tasks)
            if not whole:
                raise UserError(
                    f"Mixture {self.name!r} gives {tasks[0]!r} and what shares its rate nothing, so there are no shares to divide "
                    f"the rate {rate:g} by. Leave it out."
                )
            factors.update(dict.fromkeys(tasks, rate / whole))
        return {entry: {name: rate * factors[name] for name, rate in parts.items()} for entry, parts in own.items()}

    def _inside(
        self, nested: "RateTree", sizes: Mapping[str, int], mean_tokens: Mapping[str, float]
    ) -> dict[str, float]:
        """Task of a nested mixture → its rate, in this mixture's unit, where the nested mixture has the rate 1."""
        shares = nested.weights(sizes, mean_tokens)
        self._check_known(sizes, mean_tokens)
        inside = from_draws(self.unit, shares, sizes, mean_tokens)
        # One draw of the whole is one example of it, its mean tokens, and one of its examples' part of an epoch.
        if self.unit == "tokens":
            whole = math.fsum(inside.values())
        elif self.unit == "epochs":
            whole = 1.0 / sum(sizes[name] for name in nested.drawn)
        else:
            whole = 1.0
        return {name: value / whole for name, value in inside.items()}

    def _shares(self, draws: Mapping[str, float]) -> dict[str, float]:
        if not any(draws.values()):
            raise UserError(
                f"Every task of mixture {self.name!r} has the rate 0, so nothing would be drawn. "
                "Give at least one task a positive rate."
            )
        return normalize(draws)

    def _check_known(self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float]) -> None:
        """Checks that what the unit needs is known of every task drawn."""
        for name in self.drawn:
            if name not in sizes:
                raise UserError(
                    f"Mixture {self.name!r}: the size of task {name!r} is not known. Prepare it with `flan-jax prepare`."
                )
            if self.unit == "tokens" and not 0 < mean_tokens.get(name, 0.0) < math.inf:
                found = "are not known" if name not in mean_tokens else f"are {mean_tokens[name]}"
                raise UserError(
                    f"Mixture {self.name!r} counts its rates in tokens, but the mean tokens of task {name!r} {found}. "
                    "Prepare it with `flan-jax prepare` and name the store, or count in examples."
                )
