"""A mixture that a study varies, as factors see it: its tasks, clusters and sources, and their own shares."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from typing import Literal

from flan_jax.errors import UserError, unknown
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.mixture import run_mixture
from flan_jax.experiments.rates import count_all_records
from flan_jax.mixing.mixture import Mixture
from flan_jax.mixing.parts import known_part, parts
from flan_jax.mixing.policies import Equal
from flan_jax.tasks.task import Task

Over = Literal["tasks", "clusters", "sources"]


@dataclasses.dataclass(frozen=True)
class Space:
    """A mixture as factors see it.

    Attributes:
        mixture: what the base run trains on.
    """

    mixture: Mixture

    @functools.cached_property
    def clusters(self) -> dict[str, str]:
        """Task, by the name of its spec → its cluster, in the mixture's order."""
        return {task.spec_name: task.cluster for task in self._drawn}

    @functools.cached_property
    def _drawn(self) -> tuple[Task, ...]:
        return self.mixture.drawn_tasks

    @functools.cached_property
    def _parts(self) -> dict[str, tuple[str, ...]]:
        return parts(self.mixture)

    @functools.cached_property
    def _units(self) -> dict[Over, dict[str, tuple[str, ...]]]:
        """The results of ``units``, which every run of a study asks for."""
        return {}

    def units(self, over: Over) -> dict[str, tuple[str, ...]]:
        """Returns the units that weights are given to: name → tasks, by the names of their specs.

        Args:
            over: ``tasks``; ``clusters``; or ``sources``, the nested mixtures, where there are none the collections.

        Raises:
            UserError: there is only one source, or a name means more than its unit.
        """
        if over not in self._units:
            self._units[over] = self._find_units(over)
        return self._units[over]

    def _find_units(self, over: Over) -> dict[str, tuple[str, ...]]:
        found: dict[str, dict[str, None]] = {}
        sources = self._sources()
        for task in self._drawn:
            own = {"tasks": (task.spec_name,), "clusters": (task.cluster,)}
            for name in sources.get(task.name, (task.spec_name,)) if over == "sources" else own[over]:
                found.setdefault(name, {})[task.spec_name] = None
        if over == "sources" and len(found) < 2:
            raise UserError(
                f"Mixture {self.mixture.name!r} has no nested mixtures and no two collections, so there are no sources to "
                "vary. Choose 'clusters' or 'tasks'."
            )
        prompts = {task.name: task.spec_name for task in self._drawn}
        for name, tasks in found.items():
            means = {prompts[task] for task in self._parts[name] if task in prompts}
            if means != set(tasks):
                other = min(means - set(tasks))
                raise UserError(
                    f"The name {name!r} of one of the {over} of mixture {self.mixture.name!r} means task {other!r} too, so that "
                    "it cannot be weighted alone. Rename one of the two."
                )
        return {name: tuple(tasks) for name, tasks in found.items()}

    def _sources(self) -> dict[str, tuple[str, ...]]:
        """Name of a task's prompt → the nested mixtures that it is in, or its collection where there are none."""
        nested = [entry.task for entry in self.mixture.entries if isinstance(entry.task, Mixture) and entry.rate != 0]
        if not nested:
            return {task.name: (task.collection or task.spec_name,) for task in self._drawn}
        found: dict[str, tuple[str, ...]] = {}
        for mixture in nested:
            for task in mixture.drawn_tasks:
                found[task.name] = (*found.get(task.name, ()), mixture.name)
        return found

    def tasks_of(self, name: str, what: str) -> frozenset[str]:
        """Returns the tasks of any part of the mixture, by the names of their specs.

        Raises:
            UserError: there is no such part; near names are suggested.
        """
        prompts = known_part(self.mixture, self._parts, name, what)
        return frozenset(task.spec_name for task in self._drawn if task.name in prompts)

    def chosen(self, over: Over, names: Iterable[str], what: str) -> dict[str, tuple[str, ...]]:
        """Returns some of the units, all of them where no names are given.

        Raises:
            UserError: a name is none of theirs; near names are suggested.
        """
        units, names = self.units(over), tuple(names)
        for name in names:
            if name not in units:
                raise unknown(f"name in {what}: one of the {over} of mixture {self.mixture.name!r}", name, units)
        return {name: tasks for name, tasks in units.items() if not names or name in names}

    def shares(self, over: Over) -> dict[str, float]:
        """Returns each unit's own share, in the unit that the mixture counts in; they sum to 1.

        Records are counted where sizes decide, so that it is the same whether anything is prepared.

        Raises:
            UserError: the mixture counts in tokens, or a size is not known.
        """
        if _in_tokens(self.mixture):
            raise UserError(
                f"Mixture {self.mixture.name!r} counts in tokens, and how many its tasks have is not known before they are "
                "prepared. Give the prior as shares, or prior='equal'."
            )
        if _without_sizes(self.mixture):
            sizes = dict.fromkeys((task.name for task in self._drawn), 1)
        else:
            sizes, _ = count_all_records(self.mixture)
        rates = self.mixture.rates(sizes)
        specs = {task.name: task.spec_name for task in self._drawn}
        owner = {task: unit for unit, tasks in self.units(over).items() for task in tasks}
        sums: dict[str, float] = {unit: 0.0 for unit in self.units(over)}
        for name, rate in rates.items():
            if name in specs:
                sums[owner[specs[name]]] += rate
        whole = math.fsum(sums.values())
        return {unit: value / whole for unit, value in sums.items()}

    def named(self, tasks: Iterable[str]) -> tuple[str, ...]:
        """Returns names for some tasks together: of clusters where all of them are meant, else of the tasks."""
        wanted, known = set(tasks), self._parts
        specs = {task.name: task.spec_name for task in self.mixture.train_tasks}
        found: dict[str, None] = {}
        for task, cluster in self.clusters.items():
            whole = {specs[prompt] for prompt in known[cluster]}
            if task in wanted:
                found[cluster if whole <= wanted else task] = None
        return tuple(found)


def base_space(base: RunConfig) -> Space:
    """Returns the space of a base run: what it trains on.

    Raises:
        UserError: as ``run_mixture``.
    """
    return Space(run_mixture(base))


def _in_tokens(mixture: Mixture) -> bool:
    nested = [entry.task for entry in mixture.entries if isinstance(entry.task, Mixture)]
    return mixture.unit == "tokens" or any(map(_in_tokens, nested))


def _without_sizes(mixture: Mixture) -> bool:
    """Tells whether the rates of a mixture are what they are, however many examples its tasks have."""
    nested = [entry.task for entry in mixture.entries if isinstance(entry.task, Mixture)]
    told = isinstance(mixture.policy, Equal) or all(entry.rate is not None for entry in mixture.entries)
    return told and mixture.unit == "examples" and all(map(_without_sizes, nested))


def given_shares(prior: Mapping[str, float], units: Iterable[str], what: str) -> dict[str, float]:
    """Returns shares that were given by unit, divided by their sum, in the order of the units.

    Raises:
        UserError: a unit that is not there or has no share, a share that is no finite number of at least 0, or none above 0.
    """
    units = tuple(units)
    for name, value in prior.items():
        if name not in units:
            raise unknown(f"name in {what}", name, units)
        if not math.isfinite(value) or value < 0:
            raise UserError(f"{what} gives {name!r} the share {value!r}, which must be a finite number of at least 0.")
    missing = [name for name in units if name not in prior]
    if missing:
        raise UserError(f"{what} gives no share to {missing[0]!r}. Give one to each of the {len(units)}, or 0.")
    whole = math.fsum(prior.values())
    if not whole:
        raise UserError(f"{what} gives every share 0. Give one a positive share.")
    return {name: prior[name] / whole for name in units}
