"""The units that weights are given over: tasks, clusters, or entries of a mixture, and the tasks inside them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from flan_jax.errors import UserError
from flan_jax.mixing.mixture import Mixture

UnitKind = Literal["task", "cluster", "entry"]


@dataclasses.dataclass(frozen=True, eq=False)
class Units:
    """Tasks in groups, each of which has one weight. K tasks, U units.

    Attributes:
        names: [U] in the order in which their first tasks stand.
        of_task: [K] int64, the unit of each task.
        inside: [K] float64, the share of each task in its unit; they sum to 1 in every unit.
    """

    names: tuple[str, ...]
    of_task: np.ndarray
    inside: np.ndarray

    @classmethod
    def of(cls, mixture: Mixture, kind: UnitKind, weights: Mapping[str, float]) -> "Units":
        """Groups the tasks that a run draws.

        Args:
            mixture: that declares them.
            kind: what a unit is.
            weights: task → share of the draws, all above 0, in the run's order.

        Raises:
            UserError: a task belongs to several entries, so that none of them has a weight of its own.
        """
        unit_of = _unit_of(mixture, kind, list(weights))
        names = tuple(dict.fromkeys(unit_of.values()))
        place = {name: index for index, name in enumerate(names)}
        of_task = np.array([place[unit_of[task]] for task in weights])
        shares = np.array(list(weights.values()), np.float64)
        return cls(names, of_task, shares / np.bincount(of_task, shares)[of_task])

    def shares(self, weights: np.ndarray) -> np.ndarray:
        """[U] the sum of the weights [K] of each unit's tasks, normalized."""
        sums = np.bincount(self.of_task, weights, minlength=len(self.names))
        return sums / sums.sum()

    def spread(self, weights: np.ndarray) -> np.ndarray:
        """[K] the weights [U] of units, shared out among the tasks of each."""
        return weights[self.of_task] * self.inside

    def means(self, sums: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """[U] mean over the tokens of each unit, from the sums and numbers of tokens [K] of tasks; NaN without any."""
        count = len(self.names)
        total, weight = np.bincount(self.of_task, sums, count), np.bincount(self.of_task, tokens, count)
        return np.divide(total, weight, out=np.full(count, np.nan), where=weight > 0)


def _unit_of(mixture: Mixture, kind: UnitKind, tasks: Sequence[str]) -> dict[str, str]:
    """Task → name of its unit."""
    if kind == "task":
        return {task: task for task in tasks}
    if kind == "cluster":
        clusters = {task.name: task.cluster for task in mixture.drawn_tasks}
        return {task: clusters[task] for task in tasks}
    entries: dict[str, str] = {}
    for entry in mixture.entries:
        for task in entry.drawn_tasks:
            other = entries.setdefault(task.name, entry.task.name)
            if other != entry.task.name and task.name in tasks:
                raise UserError(
                    f"Weights cannot be given over the entries of mixture {mixture.name!r}: task {task.name!r} belongs to "
                    f"both {other!r} and {entry.task.name!r}. Give them over tasks or clusters."
                )
    return {task: entries[task] for task in tasks}
