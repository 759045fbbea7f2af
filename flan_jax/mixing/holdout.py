"""Held-out splits: which tasks of a collection are trained on, and which are measured, unseen.

FLAN's kinds of split over any list of tasks: whole clusters, one task of every cluster, growing
numbers of clusters or of tasks a cluster, and tasks named by hand. What a cluster drags along,
which tasks count as one, and which share a source is declared once, in ``HoldoutRules``.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from flan_jax.errors import UserError, unknown
from flan_jax.mixing.mixture import Dropped, Entry, Mixture, Suite
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec
from flan_jax.tasks.task import Task

Origins = Callable[[TaskSpec], frozenset[str]]
"""A task → the published data sets that its records are made from."""


def no_origins(spec: TaskSpec) -> frozenset[str]:
    """For tasks of which nothing is known."""
    return frozenset()


@dataclasses.dataclass(frozen=True)
class HoldoutRules:
    """Rules of what must not be trained on beside what is held out.

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
        reason = _near(spec.cluster, related) or _same_data(rules.origins(spec), shared)
        if reason:
            dropped.append(Dropped(spec.name, reason))
        else:
            train.append(spec)
    return Holdout(name, tuple(train), test, tuple(dropped))


def _near(cluster: str, related: Mapping[str, str]) -> str:
    return f"{cluster} is near to {related[cluster]}" if cluster in related else ""


def _same_data(origins: frozenset[str], shared: Mapping[str, str]) -> str:
    common = sorted(origins & set(shared))
    return f"made from {common[0]}, as {shared[common[0]]}" if common else ""


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
    """Returns what its members' names have in common, by which FLAN sorts families."""
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
_TRAIN_SPLIT = "train"


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
        held-out tasks, and what the mixture held out before. Tasks without a test split are measured on
        their validation split, or another that is not trained on, in ``held_out_SPLIT`` (``held_out``
        itself where no task has a test split). ``dropped`` names what is neither trained on nor measured.

    Raises:
        UserError: an unknown name, nothing left to train on, or nothing to measure.
    """
    rules = rules or HoldoutRules()
    tasks = mixture.all_tasks
    clusters, specs = {task.cluster for task in tasks}, {task.spec_name for task in tasks}
    held: set[str] = set()
    for name in names:
        if name not in clusters and name not in specs:
            raise unknown(f"cluster or task of mixture {mixture.name!r}", name, clusters | specs)
        held |= set(rules.family(name)) if name in specs else set()
    whole = [name for name in names if name in clusters]
    held |= {name for task in tasks if task.cluster in whole for name in rules.family(task.spec_name)}
    related = {other: name for name in whole for other in rules.related_to(name) if other not in whole}
    held_tasks = [task for task in tasks if task.spec_name in held]
    shared = {origin: task.spec_name for task in held_tasks for origin in _origins(task, rules)}

    def left_out(task: Task) -> str:
        return _near(task.cluster, related) or _same_data(_origins(task, rules), shared)

    def kept(task: Task) -> bool:
        return task.spec_name not in held and not left_out(task)

    earlier_held = {task.spec_name for task in tasks} - {task.spec_name for task in mixture.train_tasks}
    pruned = without(mixture, kept, lambda task: kept(task) or task.spec_name in earlier_held - held)
    if pruned is None or not pruned.drawn_tasks:
        raise UserError(
            f"Mixture {mixture.name!r} without {', '.join(names)} has nothing left to train on. Hold less out."
        )
    measured = {task.spec_name: task if task.spec is None else scored(task.spec) for task in held_tasks}
    suites, unmeasured = _measuring(measured, pruned)
    if len(unmeasured) == len(measured):
        raise UserError(
            f"Mixture {mixture.name!r}: {', '.join(names)} has no test or validation split to measure, nor another that "
            f"is not for training ({unmeasured[0].task} has: {', '.join(measured[unmeasured[0].task].splits)}). Hold out "
            "something that has, or leave it out of the mixture."
        )
    dropped = {
        **{found.task: found for found in mixture.dropped if found.task not in measured},
        **{task.spec_name: Dropped(task.spec_name, left_out(task)) for task in tasks if not kept(task)},
    }
    still = {task.spec_name for suite in suites for task in suite.tasks}
    dropped = {name: found for name, found in dropped.items() if name not in still and found.reason}
    dropped |= {found.task: found for found in unmeasured}
    return dataclasses.replace(
        pruned, name=f"{mixture.name}_holdout_{'_'.join(names)}", suites=suites, dropped=tuple(dropped.values())
    )


def _measuring(measured: Mapping[str, Task], pruned: Mixture) -> tuple[tuple[Suite, ...], list[Dropped]]:
    """The suites of a mixture with the tasks ``measured`` among them, and the tasks that nothing can measure."""
    by_split: dict[str, list[Task]] = {}
    unmeasured = []
    for name, task in measured.items():
        split = _measured_split(task)
        if split is None:
            unmeasured.append(Dropped(name, f"held out, and it has no split to measure but {', '.join(task.splits)}"))
        else:
            by_split.setdefault(split, []).append(task)
    others, made = list(pruned.suites), list[Suite]()
    trained = {task.cluster for task in pruned.train_tasks}
    for split in sorted(by_split, key=_preference):
        # A mixture that held something out before on another split keeps that suite beside this one.
        taken = {suite.name: suite.split for suite in (*others, *made)}
        name = SUITE if taken.get(SUITE, split) == split else f"{SUITE}_{split}"
        earlier = [suite for suite in others if (suite.name, suite.split) == (name, split)]
        mine = {task.name for task in by_split[split]}
        merged = (*by_split[split], *(task for suite in earlier for task in suite.tasks if task.name not in mine))
        others = [suite for suite in others if suite not in earlier]
        made.append(Suite(name, merged, split=split, held_out=not {task.cluster for task in merged} & trained))
    return (*made, *others), unmeasured


def _measured_split(task: Task) -> str | None:
    """The split that a held-out task is measured on: one that is not for training, test and validation first."""
    return min((split for split in task.splits if split != _TRAIN_SPLIT), key=_preference, default=None)


def _preference(split: str) -> tuple[int, str]:
    return _SCORED_SPLITS.index(split) if split in _SCORED_SPLITS else len(_SCORED_SPLITS), split


def without(mixture: Mixture, kept: Callable[[Task], bool], measured: Callable[[Task], bool]) -> Mixture | None:
    """Returns the mixture trained on what ``kept`` keeps; ``None`` where it keeps none. Suites keep what is ``measured``."""
    entries: list[Entry] = []
    for entry in mixture.entries:
        if isinstance(entry.task, Mixture):
            inner = without(entry.task, kept, measured)
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
    curriculum = tuple((name, rate) for name, rate in mixture.curriculum if name in trained)
    return dataclasses.replace(mixture, entries=tuple(entries), suites=tuple(suites), curriculum=curriculum)


def _origins(task: Task, rules: HoldoutRules) -> frozenset[str]:
    return frozenset() if task.spec is None else rules.origins(task.spec)
