"""The declaration of a mixture: tasks or other mixtures with rates to train on, and suites to evaluate."""

import contextvars
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from flan_jax.errors import UserError, unknown
from flan_jax.mixing import policies, resolve, units
from flan_jax.tasks.catalog import TASKS, Registry
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec
from flan_jax.tasks.task import Task


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A task in a mixture, or a mixture whose tasks share one rate.

    Attributes:
        task: the task as the model sees it, or a mixture that stands for its tasks.
        rate: its rate, in the unit of the mixture and of its policy; ``None`` lets the policy
            decide, 0 leaves the task out of training.
        scale: multiplies the rate, its own or the policy's, as where several prompts share what one task gets.
    """

    task: "Task | Mixture"
    rate: float | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.task, str | TaskSpec):
            raise UserError(
                f"An entry takes a task as the model sees it, or a mixture, and not {_shown(self.task)}. "
                "Write Prompted(SPEC), or get_mixture(NAME)."
            )
        if self.rate is not None and (not math.isfinite(self.rate) or self.rate < 0):
            raise UserError(
                f"{_kind(self.task)} {self.task.name!r} has the rate {self.rate}, "
                "which must be a finite number of at least 0."
            )
        if not math.isfinite(self.scale) or self.scale <= 0:
            raise UserError(
                f"{_kind(self.task)} {self.task.name!r} has the scale {self.scale}, which must be a positive number."
            )

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The task, or the tasks of the mixture."""
        return self.task.train_tasks if isinstance(self.task, Mixture) else (self.task,)

    @property
    def drawn_tasks(self) -> tuple[Task, ...]:
        """Those of ``tasks`` that no rate of 0 leaves out."""
        if self.rate == 0:
            return ()
        return self.task.drawn_tasks if isinstance(self.task, Mixture) else (self.task,)


@dataclasses.dataclass(frozen=True, slots=True)
class UnitRate:
    """A rate of several tasks together, which they share in proportion to their own.

    Attributes:
        name: what results call it: a task, a cluster, a nested mixture, a collection.
        rate: in the mixture's unit, above 0.
        tasks: names of the tasks that share it.
    """

    name: str
    rate: float
    tasks: tuple[str, ...]


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
        for task in self.tasks:
            if isinstance(task, Mixture):
                raise UserError(
                    f"Suite {self.name!r} measures tasks, not the mixture {task.name!r}. Give its train_tasks."
                )
        _check_unique(f"Suite {self.name!r}", self.tasks)

    @property
    def clusters(self) -> tuple[str, ...]:
        """The clusters of its tasks, each once."""
        return tuple(dict.fromkeys(task.cluster for task in self.tasks))


@dataclasses.dataclass(frozen=True, slots=True)
class Dropped:
    """A task that is neither trained on nor measured.

    Attributes:
        task: its name.
        reason: why, in a few words.
    """

    task: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Mixture:
    """Declares what one run trains on and is evaluated by. It reads nothing; it only names.

    An entry may be a mixture. As in seqio, its tasks share the entry's rate in proportion to their
    rates inside it, a task that occurs several times gets the sum, and without a rate the policy
    decides by the total size of the tasks drawn. A nested mixture has its own policy and unit;
    where units differ, the outer one says how much of the nested mixture is drawn as a whole, the
    inner one how that is divided. Of a nested mixture only entries, policy and unit count: its
    suites, curriculum and vocabulary belong to runs of its own and are not inherited.

    Attributes:
        name: unique among mixtures.
        entries: what to train on, each entry once.
        policy: gives a rate to every entry without one.
        suites: what is measured.
        vocabulary: the vocabulary used unless a run names another; ``""`` for none.
        curriculum: (name of a task, rate) pairs that a run with ``curriculum_steps`` draws from before it
            draws from all entries, in the mixture's unit; ``()`` for none.
        unit: what rates count. ``"examples"``: a rate is a relative number of draws, a size is in
            examples. ``"tokens"``: both are in tokens, inputs and targets together. ``"epochs"``:
            a rate is how often a task is gone through relative to the others, so that ``Equal``
            means the same number of epochs for all.
        dropped: what belongs to the collection and is neither trained on nor measured; a run says it.
        unit_rates: rates of groups of tasks that take the place of the entries' own, which divide them inside a group;
            every task that is drawn belongs to one. ``()`` for none. Those of a nested mixture do not count.
        notes: what is to be said where its data is read, such as files that are not used; no part of what it is.

    Raises:
        UserError: no entries, a name used twice, a held-out suite whose cluster is trained on, a
            curriculum with a task that is not trained on, an unknown unit, or a policy that does not
            fit the unit or the explicit rates.
    """

    name: str
    entries: tuple[Entry, ...]
    policy: policies.Policy = dataclasses.field(default_factory=policies.Proportional)
    suites: tuple[Suite, ...] = ()
    vocabulary: str = ""
    curriculum: tuple[tuple[str, float], ...] = ()
    unit: units.Unit = "examples"
    dropped: tuple[Dropped, ...] = ()
    unit_rates: tuple[UnitRate, ...] = ()
    notes: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    def __post_init__(self) -> None:
        where = f"Mixture {self.name!r}"
        if not self.name or not self.entries:
            raise UserError(f"{where} needs a name and at least one entry.")
        _check_unique(where, [entry.task for entry in self.entries])
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
        nested: dict[str, Mixture] = {}
        for mixture in self._nested:
            if mixture.name == self.name or nested.setdefault(mixture.name, mixture) != mixture:
                raise UserError(f"{where} uses the name {mixture.name!r} for two different mixtures. Rename one.")
        self._check_policy(where)
        if self.curriculum:
            self._check_curriculum(where)
        for suite in self.suites:
            if suite.held_out:
                self._check_held_out(where, suite)

    def _check_policy(self, where: str) -> None:
        if self.unit not in units.UNITS:
            raise unknown(f"unit of {where.lower()}", self.unit, units.UNITS)
        if isinstance(self.policy, type) or not isinstance(self.policy, policies.Policy):
            raise UserError(
                f"{where}: policy={self.policy!r} has no rates(sizes). Write Proportional(), Equal() or UniMax(…)."
            )
        resolve.check_explicit(self.policy, self.explicit_rates)
        if isinstance(self.policy, policies.UniMax) and any(entry.scale != 1 for entry in self.entries):
            raise UserError(
                f"{where} spreads one budget by UniMax, so no task can get a part of a rate. Choose run.rates, or leave the "
                "prompts of its tasks as they are."
            )
        decided = any(entry.rate is None for entry in self.entries)
        if self.unit == "epochs" and decided and isinstance(self.policy, policies.Proportional | policies.UniMax):
            raise UserError(
                f"{where} counts its rates in epochs, but {type(self.policy).__name__} gives them from sizes. "
                "Use Equal(), give every entry a rate, or count in examples."
            )

    def _check_curriculum(self, where: str) -> None:
        trained, drawn = ({task.name for task in tasks} for tasks in (self.train_tasks, self.drawn_tasks))
        for index, (name, _) in enumerate(self.curriculum):
            if name not in trained:
                raise unknown(f"task in the curriculum of {where.lower()}", name, trained)
            if name not in drawn:
                raise UserError(
                    f"{where} has {name!r} in its curriculum and leaves it out with the rate 0. Remove one."
                )
            if name in dict(self.curriculum[:index]):
                raise UserError(f"{where} lists the task {name!r} twice in its curriculum. Remove one.")
        resolve.normalize(dict(self.curriculum))

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
        """The tasks of the entries and of nested mixtures, in order, each once."""
        return _each_once(task for entry in self.entries for task in entry.tasks)

    @property
    def drawn_tasks(self) -> tuple[Task, ...]:
        """Those of ``train_tasks`` that no rate of 0 leaves out: what must be prepared."""
        drawn = {task.name for entry in self.entries for task in entry.drawn_tasks}
        return tuple(task for task in self.train_tasks if task.name in drawn)

    @property
    def _mentioned(self) -> tuple[Task, ...]:
        trained = tuple(task for entry in self.entries for task in entry.tasks)
        return trained + tuple(task for suite in self.suites for task in suite.tasks)

    @property
    def _nested(self) -> "tuple[Mixture, ...]":
        found = [entry.task for entry in self.entries if isinstance(entry.task, Mixture)]
        return (*found, *(mixture for outer in found for mixture in outer._nested))

    @property
    def all_tasks(self) -> tuple[Task, ...]:
        """The tasks of ``train_tasks`` and of every suite, each once."""
        return _each_once(self._mentioned)

    @property
    def explicit_rates(self) -> dict[str, float]:
        """Entry name → rate, for the entries that have their own."""
        return {entry.task.name: entry.rate for entry in self.entries if entry.rate is not None}

    def rates(self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float] | None = None) -> dict[str, float]:
        """Task name → rate in the mixture's unit, not normalized, for every task of ``train_tasks``.

        Args:
            sizes: task name → number of training examples; other names are ignored, and tasks left
                out with the rate 0 may be missing.
            mean_tokens: task name → tokens of an example, inputs and targets together, on average;
                read where the mixture or a nested one counts tokens.

        Raises:
            UserError: a size or a mean is missing, or as ``resolve.rates``.
        """
        return self._rate_tree.rates(sizes, mean_tokens or {})

    def weights(self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float] | None = None) -> dict[str, float]:
        """Task name → share of draws, whatever the unit, for every task of ``train_tasks``; the shares sum to 1.

        Args:
            sizes: as for ``rates``.
            mean_tokens: as for ``rates``.

        Raises:
            UserError: as ``rates``, or every rate is 0.
        """
        return self._rate_tree.weights(sizes, mean_tokens or {})

    def curriculum_weights(
        self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """Task name → share of draws in the curriculum, for every task of ``train_tasks``; empty without a curriculum.

        Raises:
            UserError: as ``rates``.
        """
        if not self.curriculum:
            return {}
        return self._rate_tree.weights_of(dict(self.curriculum), sizes, mean_tokens or {})

    def entry_rates(self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float] | None = None) -> dict[str, float]:
        """Entry name → rate in the mixture's unit, not normalized; a nested mixture is one entry.

        Raises:
            UserError: as ``rates``.
        """
        return self._rate_tree.entry_rates(sizes, mean_tokens or {})

    def entry_weights(
        self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """Entry name → share of draws; a nested mixture is one entry.

        Raises:
            UserError: as ``weights``.
        """
        return self._rate_tree.entry_weights(sizes, mean_tokens or {})

    def caps(self, sizes: Mapping[str, int], mean_tokens: Mapping[str, float] | None = None) -> dict[str, float]:
        """Task name → the limit that its rate was held to, in the unit of the mixture that lists the task.

        Only tasks that a limit holds are there; of a task that several mixtures hold, the lowest.

        Raises:
            UserError: as ``rates``.
        """
        return self._rate_tree.caps(sizes, mean_tokens or {})

    @property
    def _rate_tree(self) -> resolve.RateTree:
        """Everything that decides the mixture's rates, as names and numbers."""
        entries = tuple(
            resolve.RateEntry(
                entry.task.name,
                entry.rate,
                tuple(task.name for task in entry.drawn_tasks),
                entry.task._rate_tree if isinstance(entry.task, Mixture) else None,
                entry.scale,
            )
            for entry in self.entries
        )
        names = tuple(task.name for task in self.train_tasks)
        units = tuple((unit.rate, unit.tasks) for unit in self.unit_rates)
        return resolve.RateTree(self.name, self.unit, self.policy, entries, names, units)


def _kind(task: Task | Mixture) -> str:
    return "Mixture" if isinstance(task, Mixture) else "Task"


def _shown(given: str | TaskSpec) -> str:
    return f"the name {given!r}" if isinstance(given, str) else f"the spec {given.name!r}"


def _each_once(tasks: Iterable[Task]) -> tuple[Task, ...]:
    return tuple({task.name: task for task in tasks}.values())


def _check_unique(where: str, tasks: Sequence[Task | Mixture]) -> None:
    seen: set[str] = set()
    for task in tasks:
        if task.name in seen:
            remedy = "Remove one." if isinstance(task, Mixture) else "Remove one, or give it a variant."
            raise UserError(f"{where} lists the {_kind(task).lower()} {task.name!r} twice. {remedy}")
        seen.add(task.name)


MIXTURES: Registry[Callable[[], Mixture]] = Registry("mixture", remedy="`flan-jax tasks` lists tasks and mixtures.")
"""Factories, so that a mixture over a user's own data is resolved only when it is asked for."""

# The mixtures whose factories are running, outermost first: a factory may ask for other mixtures.
_being_made: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("being_made", default=())


def register_mixture(name: str, factory: Callable[[], Mixture]) -> Callable[[], Mixture]:
    """Adds a mixture to the catalogue and returns its factory.

    Raises:
        UserError: the name is taken by another factory.
    """
    return MIXTURES.add(name, factory)


def get_mixture(name: str) -> Mixture:
    """Returns the mixture of that name, or a mixture of one task when it names a task.

    Raises:
        UserError: neither a mixture nor a task (the message suggests near names), or a mixture
            that is among the mixtures it is made of.
    """
    if name in MIXTURES:
        path = _being_made.get()
        if name in path:
            shown = " → ".join([*path[path.index(name) :], name])
            raise UserError(f"Mixture {name!r} contains itself: {shown}. Take one of these entries out.")
        token = _being_made.set((*path, name))
        try:
            return MIXTURES.get(name)()
        finally:
            _being_made.reset(token)
    if name in TASKS:
        return Mixture(name, (Entry(Prompted(TASKS.get(name), PromptMode.ZS_OPT)),))
    raise unknown("mixture or task", name, {*MIXTURES, *TASKS}, remedy="`flan-jax tasks` lists tasks and mixtures.")
