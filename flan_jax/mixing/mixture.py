"""What a mixture is: tasks with rates to train on, and suites to measure."""

import dataclasses
import math
from collections.abc import Callable, Mapping

from flan_jax.errors import UserError, unknown
from flan_jax.mixing import rates
from flan_jax.tasks.catalog import TASKS, Registry
from flan_jax.tasks.spec import Prompted, PromptMode, Task


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A task in a mixture.

    Attributes:
        task: the task as the model sees it.
        rate: its rate, in the unit of the mixture's policy; ``None`` lets the policy decide,
            0 leaves the task out of training.
    """

    task: Task
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.rate is not None and (not math.isfinite(self.rate) or self.rate < 0):
            raise UserError(
                f"Task {self.task.name!r} has the rate {self.rate}, which must be a finite number of at least 0."
            )


@dataclasses.dataclass(frozen=True, slots=True)
class Suite:
    """Tasks that are measured together.

    Attributes:
        name: what results call it.
        tasks: at least one, each once.
        split: the split that is scored.
        held_out: no task of these clusters may be trained on.
    """

    name: str
    tasks: tuple[Task, ...]
    split: str = "test"
    held_out: bool = False

    def __post_init__(self) -> None:
        if not self.name or not self.tasks:
            raise UserError(f"Suite {self.name!r} needs a name and at least one task.")
        _check_unique(f"Suite {self.name!r}", self.tasks)

    @property
    def clusters(self) -> tuple[str, ...]:
        """The clusters of its tasks, each once."""
        return tuple(dict.fromkeys(task.cluster for task in self.tasks))


@dataclasses.dataclass(frozen=True, slots=True)
class Mixture:
    """What one run trains on and is measured by. It reads nothing; it only names.

    Attributes:
        name: unique among mixtures.
        entries: the tasks to train on, each once.
        policy: gives a rate to every entry without one.
        suites: what is measured.
        vocabulary: the vocabulary used unless a run names another; ``""`` for none.
        lesson: (name of an entry's task, rate) pairs that a run with ``lesson_steps`` draws from
            before it draws from all entries; ``()`` for none.

    Raises:
        UserError: no entries, a name used twice, a held-out suite whose cluster is trained on, or a
            lesson with a task that is no entry.
    """

    name: str
    entries: tuple[Entry, ...]
    policy: rates.Policy = dataclasses.field(default_factory=rates.Proportional)
    suites: tuple[Suite, ...] = ()
    vocabulary: str = ""
    lesson: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        where = f"Mixture {self.name!r}"
        if not self.name or not self.entries:
            raise UserError(f"{where} needs a name and at least one entry.")
        _check_unique(where, self.train_tasks)
        names = [suite.name for suite in self.suites]
        if len(set(names)) < len(names):
            twice = next(name for index, name in enumerate(names) if name in names[:index])
            raise UserError(f"{where} has two suites named {twice!r}. Rename one.")
        by_name: dict[str, Task] = {}
        for task in self._mentioned:
            if by_name.setdefault(task.name, task) != task:
                raise UserError(
                    f"{where} uses the name {task.name!r} for two different tasks. Give one of them a variant."
                )
        trained = {task.name for task in self.train_tasks}
        for name, _ in self.lesson:
            if name not in trained:
                raise unknown(f"task in the lesson of {where.lower()}", name, trained)
        for suite in self.suites:
            if suite.held_out:
                self._check_held_out(where, suite)

    def _check_held_out(self, where: str, suite: Suite) -> None:
        for cluster in suite.clusters:
            trained = [task.name for task in self.train_tasks if task.cluster == cluster]
            if trained:
                shown = ", ".join(trained[:5]) + (f" and {len(trained) - 5} more" if len(trained) > 5 else "")
                raise UserError(
                    f"{where} holds the suite {suite.name!r} out, but its cluster {cluster!r} is trained on: {shown}. "
                    "Remove these entries, or set held_out=False."
                )

    @property
    def train_tasks(self) -> tuple[Task, ...]:
        """The tasks of the entries, in order."""
        return tuple(entry.task for entry in self.entries)

    @property
    def _mentioned(self) -> tuple[Task, ...]:
        return self.train_tasks + tuple(task for suite in self.suites for task in suite.tasks)

    @property
    def all_tasks(self) -> tuple[Task, ...]:
        """The tasks of the entries and of every suite, each once."""
        return tuple({task.name: task for task in self._mentioned}.values())

    @property
    def explicit_rates(self) -> dict[str, float]:
        """Task name → rate, for the entries that have their own."""
        return {entry.task.name: entry.rate for entry in self.entries if entry.rate is not None}

    def rates(self, sizes: Mapping[str, int]) -> dict[str, float]:
        """Task name → rate, not normalised, for every entry.

        Args:
            sizes: task name → number of training examples; names that are no entry are ignored.

        Raises:
            UserError: a size is missing, or as ``rates.rates``.
        """
        missing = [task.name for task in self.train_tasks if task.name not in sizes]
        if missing:
            raise UserError(
                f"Mixture {self.name!r}: the size of task {missing[0]!r} is not known. Prepare it with `flan-jax prepare`."
            )
        own_sizes = {task.name: sizes[task.name] for task in self.train_tasks}
        return rates.rates(self.policy, own_sizes, self.explicit_rates)

    def weights(self, sizes: Mapping[str, int]) -> dict[str, float]:
        """Task name → share of draws, for every entry; the shares sum to 1.

        Raises:
            UserError: as ``rates``, or every rate is 0.
        """
        return rates.normalise(self.rates(sizes))


def _check_unique(where: str, tasks: tuple[Task, ...]) -> None:
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise UserError(f"{where} lists the task {twice!r} twice. Remove one, or give it a variant.")


MIXTURES: Registry[Callable[[], Mixture]] = Registry("mixture", remedy="`flan-jax tasks` lists tasks and mixtures.")
"""Factories, so that a mixture over a user's own data is resolved only when it is asked for."""


def register_mixture(name: str, factory: Callable[[], Mixture]) -> Callable[[], Mixture]:
    """Adds a mixture to the catalogue and returns its factory.

    Raises:
        UserError: the name is taken by another factory.
    """
    return MIXTURES.add(name, factory)


def get_mixture(name: str) -> Mixture:
    """The mixture of that name, or a mixture of one task when it names a task.

    Raises:
        UserError: neither a mixture nor a task; the message suggests near names.
    """
    if name in MIXTURES:
        return MIXTURES.get(name)()
    if name in TASKS:
        return Mixture(name, (Entry(Prompted(TASKS.get(name), PromptMode.ZS_OPT)),))
    raise unknown("mixture or task", name, {*MIXTURES, *TASKS}, remedy="`flan-jax tasks` lists tasks and mixtures.")
