"""Factors of what is trained on: all but one part, one part more, so many clusters, so many tasks of each cluster."""

import dataclasses
from collections.abc import Sequence

from flan_jax.errors import UserError
from flan_jax.studies.designs.streams import shuffled
from flan_jax.studies.factors.base import Factor, Level, check_distinct
from flan_jax.studies.space import Over, Space
from flan_jax.typed import Positive

NONE = "none"
"""The level of the run that leaves nothing out, or adds nothing."""


@dataclasses.dataclass(frozen=True)
class LeaveOneOut(Factor):
    """Everything, and everything but one task, cluster or source, for each of them.

    Attributes:
        over: what is left out: ``tasks``, ``clusters`` or ``sources``.
        names: of those that are left out; none for all.
    """

    over: Over = "clusters"
    names: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """``left_out``."""
        return "left_out"

    def levels(self, space: Space, seed: int, count: int) -> tuple[Level, ...]:
        """The level ``none``, and one for each part."""
        units = space.chosen(self.over, self.names, "LeaveOneOut.names")
        whole = [Level({self.label: NONE})]
        return tuple(whole + [Level({self.label: unit}, left_out=(unit,)) for unit in units])


@dataclasses.dataclass(frozen=True)
class AddOne(Factor):
    """A base of parts, and that base with one task, cluster or source more, for each of them.

    Attributes:
        base: tasks, clusters or sources, by ``over``, that every run trains on.
        over: what is added.
        names: of those that are added; none for all that are not in the base.
    """

    base: tuple[str, ...]
    over: Over = "clusters"
    names: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """``added``."""
        return "added"

    def levels(self, space: Space, seed: int, count: int) -> tuple[Level, ...]:
        """The level ``none``, and one for each part that is added."""
        if not self.base:
            raise UserError("AddOne.base is empty. Name what every run trains on.")
        base = space.chosen(self.over, self.base, "AddOne.base")
        units = space.chosen(self.over, self.names, "AddOne.names")
        twice = [name for name in self.names if name in base]
        if twice:
            raise UserError(f"AddOne.names adds {twice[0]!r}, which AddOne.base has already. Leave it out of one.")
        kept = frozenset(task for tasks in base.values() for task in tasks)
        more = {unit: tasks for unit, tasks in units.items() if unit not in base}
        return (
            Level({self.label: NONE}, kept=kept),
            *(Level({self.label: unit}, kept=kept | set(tasks)) for unit, tasks in more.items()),
        )


@dataclasses.dataclass(frozen=True)
class NumberOfClusters(Factor):
    """So many clusters trained on: the first ones of an order, so that more clusters are fewer ones and others.

    The orders are one circle of clusters, which the seed draws, begun at different places: no two of them have the same
    first clusters, and with as many orders as clusters each comes first once.

    Attributes:
        counts: numbers of clusters, each once.
        orders: of so many orders.
        always: clusters that come first in every order.
        seeded: give the runs of each order a seed of their own, its number, so that orders are replicates too.
    """

    counts: tuple[Positive, ...]
    orders: Positive = 1
    always: tuple[str, ...] = ()
    seeded: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distinct(self.counts, "NumberOfClusters.counts")

    @property
    def label(self) -> str:
        """``clusters``."""
        return "clusters"

    @property
    def labels(self) -> tuple[str, ...]:
        """``clusters``, ``order`` where there are several, and ``seed`` where each has one."""
        return _labels(self, "order")

    def levels(self, space: Space, seed: int, count: int) -> tuple[Level, ...]:
        """One level for each number and order; all clusters have one order only."""
        units = space.units("clusters")
        first = tuple(space.chosen("clusters", self.always, "NumberOfClusters.always")) if self.always else ()
        for number in self.counts:
            if not max(len(first), 1) <= number <= len(units):
                raise UserError(
                    f"NumberOfClusters.counts has {number}, but mixture {space.mixture.name!r} trains on {len(units)} clusters"
                    + (f", {len(first)} of them always" if first else "")
                    + f". Give a number from {max(len(first), 1)} to {len(units)}."
                )
        circle = shuffled([unit for unit in units if unit not in first], seed, "clusters")
        if self.orders > max(len(circle), 1):
            raise UserError(
                f"NumberOfClusters.orders is {self.orders}, but {len(circle)} clusters have no more orders than that which begin "
                f"with another one. Give at most {len(circle)}."
            )
        found = []
        for number in self.counts:
            # Nothing, and everything, is the same in every order.
            for order in range(1 if number in (len(first), len(units)) and not self.seeded else self.orders):
                kept = frozenset(task for unit in (*first, *_from(circle, order))[:number] for task in units[unit])
                found.append(_level(self, number, order, kept))
        return tuple(found)


@dataclasses.dataclass(frozen=True)
class TasksPerCluster(Factor):
    """So many tasks of each cluster trained on, the first ones of an order; a cluster that has fewer gives all.

    The orders are as those of ``NumberOfClusters``, for the tasks of every cluster.

    Attributes:
        counts: numbers of tasks, each once.
        orders: of so many orders.
        seeded: give the runs of each order a seed of their own, its number, so that orders are replicates too.
    """

    counts: tuple[Positive, ...]
    orders: Positive = 1
    seeded: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distinct(self.counts, "TasksPerCluster.counts")

    @property
    def label(self) -> str:
        """``tasks_per_cluster``."""
        return "tasks_per_cluster"

    @property
    def labels(self) -> tuple[str, ...]:
        """``tasks_per_cluster``, ``task_order`` where there are several, and ``seed`` where each has one."""
        return _labels(self, "task_order")

    def levels(self, space: Space, seed: int, count: int) -> tuple[Level, ...]:
        """One level for each number and order; where every cluster gives all of its tasks there is one order only."""
        units = space.units("clusters")
        most = max(map(len, units.values()))
        for number in self.counts:
            if number > most:
                raise UserError(
                    f"TasksPerCluster.counts has {number}, but no cluster of mixture {space.mixture.name!r} has more than "
                    f"{most} tasks. Give a number from 1 to {most}."
                )
        if self.orders > most:
            raise UserError(
                f"TasksPerCluster.orders is {self.orders}, but no cluster of mixture {space.mixture.name!r} has more than {most} "
                f"tasks, which have no more orders than that which begin with another one. Give at most {most}."
            )
        circles = [shuffled(tasks, seed, "tasks") for tasks in units.values()]
        found = []
        for number in self.counts:
            for order in range(1 if number == most and not self.seeded else self.orders):
                kept = frozenset(task for circle in circles for task in _from(circle, order)[:number])
                found.append(_level(self, number, order, kept))
        return tuple(found)


def _labels(factor: NumberOfClusters | TasksPerCluster, order: str) -> tuple[str, ...]:
    """The names that levels of a factor with orders show."""
    return (factor.label, *([order] if factor.orders > 1 else []), *(["seed"] if factor.seeded else []))


def _level(factor: NumberOfClusters | TasksPerCluster, number: int, order: int, kept: frozenset[str]) -> Level:
    """The level of so many clusters or tasks, the first ones of an order."""
    places = {"seed": order} if factor.seeded else {}
    values = (number, *([order] if factor.orders > 1 else []), *places.values())
    return Level(dict(zip(factor.labels, values, strict=True)), places, kept=kept)


def _from(circle: Sequence[str], order: int) -> list[str]:
    """A circle of names, begun at the place of an order: places far apart come first, so that few orders share little.

    >>> _from("abcd", 0), _from("abcd", 1), _from("abcd", 2)
    (['a', 'b', 'c', 'd'], ['c', 'd', 'a', 'b'], ['b', 'c', 'd', 'a'])
    """
    count = len(circle)
    if not count:
        return []
    starts: dict[int, None] = {}
    step, place = 1, 0
    while len(starts) < count:  # 0, 1/2, 1/4, 3/4, 1/8, … of the way round
        starts[place * count // step] = None
        place += 1
        if place >= step:
            step, place = 2 * step, 0
    start = list(starts)[order % count]
    return [*circle[start:], *circle[:start]]
