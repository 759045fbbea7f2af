"""Held-out splits: which tasks of a collection are trained on, and which are measured, unseen.

FLAN's kinds of split over any list of tasks: whole clusters, one task of every cluster, growing
numbers of clusters or of tasks a cluster, and tasks named by hand. What a cluster drags along,
which tasks count as one, and which share a source is declared once, in ``HoldoutRules``.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from flan_jax.errors import UserError, unknown
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.tasks.spec import Prompted, PromptMode, Task, TaskSpec

Origins = Callable[[TaskSpec], frozenset[str]]
"""A task → the published data sets that its records are made from."""


def no_origins(spec: TaskSpec) -> frozenset[str]:
    """For tasks of which nothing is known."""
    return frozenset()


@dataclasses.dataclass(frozen=True)
class HoldoutRules:
    """What must not be trained on beside what is held out.

    Attributes:
        related: pairs of clusters too near to each other: holding out one drops the other.
        siblings: tasks that count as one: they are trained on, or held out, together.
        origins: tasks that share a data set with a held-out task are dropped.
    """

    related: tuple[tuple[str, str], ...] = ()
    siblings: tuple[tuple[str, ...], ...] = ()
    origins: Origins = no_origins

    def related_to(self, cluster: str) -> frozenset[str]:
        """The clusters dropped with ``cluster``."""
        pairs = [set(pair) - {cluster} for pair in self.related if cluster in pair]
        return frozenset().union(*pairs)

    def family(self, name: str) -> tuple[str, ...]:
        """The task and its siblings."""
        return next((family for family in self.siblings if name in family), (name,))


@dataclasses.dataclass(frozen=True)
class Dropped:
    """A task that is neither trained on nor measured.

    Attributes:
        task: its name.
        reason: why, in a few words.
    """

    task: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Holdout:
    """A split of a collection.

    Attributes:
        name: what it is called.
        train: the tasks to train on.
        test: the tasks held out.
        dropped: the tasks left out of both, with the reason.

    Raises:
        UserError: nothing to train on, nothing to measure, or a task on both sides.
    """

    name: str
    train: tuple[TaskSpec, ...]
    test: tuple[TaskSpec, ...]
    dropped: tuple[Dropped, ...] = ()

    def __post_init__(self) -> None:
        both = {spec.name for spec in self.train} & {spec.name for spec in self.test}
        if both:
            raise UserError(f"Split {self.name!r} trains on {min(both)!r} and holds it out. Remove it from one side.")
        if not self.train or not self.test:
            side = "to hold out" if self.train else "to train on"
            raise UserError(f"Split {self.name!r} leaves no task {side}. Choose other clusters or tasks.")


def hold_out_clusters(
    name: str, specs: Sequence[TaskSpec], clusters: Iterable[str], rules: HoldoutRules | None = None
) -> Holdout:
    """FLAN's inter-cluster split: every task of ``clusters`` is held out, all others are trained on.

    Clusters related to a held-out one, and tasks that share a data set with a held-out task, are dropped.

    Args:
        name: of the split.
        specs: the collection.
        clusters: what to hold out.
        rules: what else must go.

    Raises:
        UserError: an unknown cluster, or as ``Holdout``.
    """
    wanted = tuple(dict.fromkeys(clusters))
    known = {spec.cluster for spec in specs}
    for cluster in wanted:
        if cluster not in known:
            raise unknown("cluster", cluster, known)
    return _split(name, specs, {spec.name for spec in specs if spec.cluster in wanted}, rules or HoldoutRules(), wanted)


def hold_out_tasks(
    name: str, specs: Sequence[TaskSpec], tasks: Iterable[str], rules: HoldoutRules | None = None
) -> Holdout:
    """Holds out tasks by name, with their siblings; their clusters are trained on otherwise.

    Raises:
        UserError: an unknown task, or as ``Holdout``.
    """
    rules = rules or HoldoutRules()
    known = {spec.name for spec in specs}
    wanted: set[str] = set()
    for task in tasks:
        if task not in known:
            raise unknown("task", task, known)
        wanted |= set(rules.family(task)) & known
    return _split(name, specs, wanted, rules, ())


def _split(
    name: str, specs: Sequence[TaskSpec], held: set[str], rules: HoldoutRules, clusters: tuple[str, ...]
) -> Holdout:
    related = {other: cluster for cluster in clusters for other in rules.related_to(cluster) if other not in clusters}
    test = tuple(spec for spec in specs if spec.name in held)
    shared = {origin: spec.name for spec in test for origin in rules.origins(spec)}
    train, dropped = [], []
    for spec in specs:
        if spec.name in held:
            continue
        common = sorted(rules.origins(spec) & set(shared))
        if spec.cluster in related:
            dropped.append(Dropped(spec.name, f"{spec.cluster} is near to {related[spec.cluster]}"))
        elif common:
            dropped.append(Dropped(spec.name, f"made from {common[0]}, as {shared[common[0]]}"))
        else:
            train.append(spec)
    return Holdout(name, tuple(train), test, tuple(dropped))


def intra_cluster(name: str, specs: Sequence[TaskSpec], index: int, rules: HoldoutRules | None = None) -> Holdout:
    """FLAN's intra-cluster split ``index``: one task of every cluster that has several is held out.

    Siblings count as one task. Which one a split holds out is FLAN's choice: position ``index`` of a
    permutation of the cluster's tasks seeded by the cluster's number, siblings behind the others.

    Args:
        name: of the split.
        specs: the collection, clusters and tasks in their published order.
        index: 0 to 9 in FLAN; higher ones come round again.
        rules: which tasks are siblings.

    Raises:
        UserError: as ``Holdout``.
    """
    rules = rules or HoldoutRules()
    held: set[str] = set()
    clusters: dict[str, list[str]] = {}
    for spec in specs:
        clusters.setdefault(spec.cluster, []).append(spec.name)
    for number, tasks in enumerate(clusters.values()):
        families = [rules.family(task) for task in tasks]
        single = [family for family in families if len(family) == 1]
        grouped = sorted({family for family in families if len(family) > 1}, key=_family_name)
        units = [*single, *grouped]
        if len(units) > 1:
            order = np.random.RandomState(seed=number).permutation(len(units))
            held |= set(units[int(order[index % len(units)])])
    return _split(name, specs, held & {spec.name for spec in specs}, rules, ())


def _family_name(family: tuple[str, ...]) -> str:
    """What its members' names have in common, by which FLAN sorts families."""
    first, last = min(family), max(family)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:length].rstrip("_")


def diversity(
    name: str,
    specs: Sequence[TaskSpec],
    *,
    test_clusters: Sequence[str],
    train_clusters: Sequence[str],
    tasks_per_cluster: int | None = None,
    task_limit: int | None = None,
) -> Holdout:
    """FLAN's splits for ablations: ``test_clusters`` held out, ``train_clusters`` and nothing else trained on.

    Args:
        name: of the split.
        specs: the collection, in its published order.
        test_clusters: what is held out.
        train_clusters: what is trained on.
        tasks_per_cluster: only the first so many tasks of each.
        task_limit: only so many tasks in all, taken from the clusters by turns.

    Raises:
        UserError: an unknown cluster, a limit below 1, or as ``Holdout``.
    """
    known: dict[str, list[TaskSpec]] = {}
    for spec in specs:
        known.setdefault(spec.cluster, []).append(spec)
    for cluster in (*test_clusters, *train_clusters):
        if cluster not in known:
            raise unknown("cluster", cluster, known)
    for limit in (tasks_per_cluster, task_limit):
        if limit is not None and limit < 1:
            raise UserError(f"Split {name!r}: a limit of {limit} tasks must be at least 1.")
    chosen = [tasks[:tasks_per_cluster] for cluster, tasks in known.items() if cluster in train_clusters]
    longest = max(map(len, chosen), default=0)
    by_turns = [tasks[turn] for turn in range(longest) for tasks in chosen if turn < len(tasks)]
    trained = {spec.name for spec in by_turns[:task_limit]}
    return Holdout(
        name,
        tuple(spec for spec in specs if spec.name in trained),
        tuple(spec for spec in specs if spec.cluster in test_clusters),
        tuple(
            Dropped(spec.name, "not among the tasks of this ablation")
            for spec in specs
            if spec.name not in trained and spec.cluster not in test_clusters
        ),
    )


SUITE = "held_out"
_SCORED_SPLITS = ("test", "validation")


def scored(spec: TaskSpec, mode: PromptMode = PromptMode.ZS_OPT) -> Prompted:
    """The task as it is measured: drawn from the templates whose target is the answer."""
    if len(spec.scored_templates) == len(spec.templates):
        return Prompted(spec, mode)
    return Prompted(spec, mode, spec.scored_templates, variant="scored")


def hold_out_of(mixture: Mixture, names: Sequence[str], rules: HoldoutRules | None = None) -> Mixture:
    """The mixture without some clusters or tasks, which it measures instead.

    Clusters related to a held-out one and tasks made from the same data set are left out too, of
    nested mixtures as well. Suites keep what is still trained on.

    Args:
        mixture: any.
        names: clusters, or tasks by the names of their specs.
        rules: what else must go.

    Returns:
        A mixture named ``MIXTURE_holdout_NAMES`` with the suite ``held_out``: the test split of the
        held-out tasks, or their validation split where none has another, and what the mixture held
        out before.

    Raises:
        UserError: an unknown name, nothing left to train on, or nothing to measure.
    """
    rules = rules or HoldoutRules()
    tasks = mixture.all_tasks
    clusters, specs = {task.cluster for task in tasks}, {_spec_name(task) for task in tasks}
    held: set[str] = set()
    for name in names:
        if name not in clusters and name not in specs:
            raise unknown(f"cluster or task of mixture {mixture.name!r}", name, clusters | specs)
        held |= set(rules.family(name)) if name in specs else set()
    whole = [name for name in names if name in clusters]
    held |= {name for task in tasks if task.cluster in whole for name in rules.family(_spec_name(task))}
    related = {other for cluster in whole for other in rules.related_to(cluster)} - set(whole)
    held_tasks = [task for task in tasks if _spec_name(task) in held]
    origins = {origin for task in held_tasks for origin in _origins(task, rules)}

    def kept(task: Task) -> bool:
        near = task.cluster in related or bool(_origins(task, rules) & origins)
        return _spec_name(task) not in held and not near

    name = f"{mixture.name}_holdout_{'_'.join(names)}"
    earlier_held = {_spec_name(task) for task in tasks} - {_spec_name(task) for task in mixture.train_tasks}
    pruned = _without(mixture, kept, lambda task: kept(task) or _spec_name(task) in earlier_held - held)
    if pruned is None or not pruned.drawn_tasks:
        raise UserError(
            f"Mixture {mixture.name!r} without {', '.join(names)} has nothing left to train on. Hold less out."
        )
    measured = {_spec_name(task): scored(task.spec) if isinstance(task, Prompted) else task for task in held_tasks}
    split = next((s for s in _SCORED_SPLITS if any(s in task.splits for task in measured.values())), None)
    if split is None:
        raise UserError(f"Mixture {mixture.name!r}: {', '.join(names)} has no test or validation split to measure.")
    unseen = tuple(task for task in measured.values() if split in task.splits)
    # A mixture that held something out before on another split keeps that suite beside this one.
    taken = {suite.name for suite in pruned.suites if suite.split != split}
    suite_name = SUITE if SUITE not in taken else f"{SUITE}_{split}"
    earlier = [suite for suite in pruned.suites if suite.name == suite_name and suite.split == split]
    others = [suite for suite in pruned.suites if suite not in earlier]
    mine = {task.name for task in unseen}
    merged = (*unseen, *(task for suite in earlier for task in suite.tasks if task.name not in mine))
    clean = not {task.cluster for task in merged} & {task.cluster for task in pruned.train_tasks}
    suites = (Suite(suite_name, merged, split=split, held_out=clean), *others)
    return dataclasses.replace(pruned, name=name, suites=suites)


def _without(mixture: Mixture, kept: Callable[[Task], bool], measured: Callable[[Task], bool]) -> Mixture | None:
    """The mixture trained on what ``kept`` keeps; ``None`` where it keeps none. Suites keep what is ``measured``."""
    entries: list[Entry] = []
    for entry in mixture.entries:
        if isinstance(entry.task, Mixture):
            inner = _without(entry.task, kept, measured)
            # What is left of it may have the rate 0, and nothing can be drawn from that.
            drawn = inner is not None and (inner.drawn_tasks or not entry.task.drawn_tasks)
            entries += [dataclasses.replace(entry, task=inner)] if inner is not None and drawn else []
        elif kept(entry.task):
            entries.append(entry)
    if not entries:
        return None
    trained = {task.name for entry in entries for task in entry.tasks}
    suites = []
    for suite in mixture.suites:
        tasks = suite.tasks if suite.held_out else tuple(task for task in suite.tasks if measured(task))
        suites += [dataclasses.replace(suite, tasks=tasks)] if tasks else []
    lesson = tuple((name, rate) for name, rate in mixture.lesson if name in trained)
    return dataclasses.replace(mixture, entries=tuple(entries), suites=tuple(suites), lesson=lesson)


def _spec_name(task: Task) -> str:
    return task.spec.name if isinstance(task, Prompted) else task.name


def _origins(task: Task, rules: HoldoutRules) -> frozenset[str]:
    return rules.origins(task.spec) if isinstance(task, Prompted) else frozenset()
