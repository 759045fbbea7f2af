"""Parts of a mixture by their names: a task, a prompt of one, a cluster, a nested mixture, a collection."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from flan_jax.errors import UserError, unknown
from flan_jax.mixing.holdout import without
from flan_jax.mixing.mixture import Dropped, Mixture, UnitRate
from flan_jax.tasks.task import Task


def parts(mixture: Mixture) -> dict[str, tuple[str, ...]]:
    """Returns every name of a part that is trained on → the names of its tasks, in the mixture's order.

    A name that means several things, such as a cluster and the only task in it, means all of them together.
    """
    found: dict[str, dict[str, None]] = {}
    for task in mixture.train_tasks:
        for name in {task.name, task.spec_name, task.cluster, task.collection} - {""}:
            found.setdefault(name, {})[task.name] = None
    for nested in _nested(mixture):
        found.setdefault(nested.name, {}).update(dict.fromkeys(task.name for task in nested.train_tasks))
    order = {task.name: place for place, task in enumerate(mixture.train_tasks)}
    return {name: tuple(sorted(tasks, key=order.__getitem__)) for name, tasks in found.items()}


def _nested(mixture: Mixture) -> Iterator[Mixture]:
    for entry in mixture.entries:
        if isinstance(entry.task, Mixture):
            yield entry.task
            yield from _nested(entry.task)


def tasks_of(mixture: Mixture, names: Iterable[str], what: str) -> frozenset[str]:
    """Returns the names of the tasks of some parts.

    Args:
        mixture: that they are parts of.
        names: of the parts.
        what: where these were named, for the message.

    Raises:
        UserError: no such part; near names are suggested.
    """
    known = parts(mixture)
    return frozenset(task for name in names for task in known_part(mixture, known, name, what))


def known_part(mixture: Mixture, known: Mapping[str, tuple[str, ...]], name: str, what: str) -> tuple[str, ...]:
    """Returns the tasks of a part, from what ``parts`` returned.

    Raises:
        UserError: there is no such part, or it is measured only.
    """
    if name in known:
        return known[name]
    if any(name in (task.name, task.spec_name, task.cluster, task.collection) for task in mixture.all_tasks):
        raise UserError(f"{what} names {name!r}, which mixture {mixture.name!r} does not train on. Leave it out.")
    raise unknown(f"task, cluster, nested mixture or collection of mixture {mixture.name!r} in {what}", name, known)


def kept_parts(mixture: Mixture, keep: Sequence[str], leave_out: Sequence[str]) -> Mixture:
    """Returns the mixture trained on ``keep`` alone, where that names anything, and without ``leave_out``.

    Suites that are not held out keep what is trained on, in any prompt, and what never was; ``dropped`` names the
    tasks that are neither trained on nor measured any more.

    Raises:
        UserError: an unknown part, or nothing left to train on.
    """
    if not keep and not leave_out:
        return mixture
    every = frozenset(task.name for task in mixture.train_tasks)
    kept = (tasks_of(mixture, keep, "run.keep") if keep else every) - tasks_of(mixture, leave_out, "run.leave_out")
    pruned = only_tasks(mixture, kept)
    if pruned is None or not pruned.drawn_tasks:
        how = " and ".join(
            f"run.{name}={', '.join(names)}" for name, names in (("keep", keep), ("leave_out", leave_out)) if names
        )
        raise UserError(f"Mixture {mixture.name!r} with {how} has nothing left to train on. Leave less out.")
    left = {task.spec_name for task in pruned.all_tasks}
    gone = dict.fromkeys(task.spec_name for task in mixture.train_tasks if task.spec_name not in left)
    reason = "left out by run.keep or run.leave_out"
    return dataclasses.replace(pruned, dropped=(*mixture.dropped, *(Dropped(name, reason) for name in gone)))


def only_tasks(mixture: Mixture, kept: frozenset[str]) -> Mixture | None:
    """Returns the mixture trained on these tasks alone, its suites without what was trained on; ``None`` for none."""
    trained = {task.spec_name for task in mixture.train_tasks}
    still = {task.spec_name for task in mixture.train_tasks if task.name in kept}

    def measured(task: Task) -> bool:
        return task.spec_name in still or task.spec_name not in trained

    return without(mixture, lambda task: task.name in kept, measured)


def weighted(mixture: Mixture, weights: Mapping[str, float]) -> Mixture:
    """Returns the mixture with the rates of parts in the place of its own; see ``MixingConfig.weights``.

    Raises:
        UserError: an unknown part, a task in two parts or in none, or a part whose tasks all have the rate 0.
    """
    if not weights:
        return mixture
    known = parts(mixture)
    drawn = {task.name for task in mixture.drawn_tasks}
    owner: dict[str, str] = {}
    for name in weights:
        for task in known_part(mixture, known, name, "run.weights"):
            if task in owner:
                raise UserError(
                    f"run.weights gives task {task!r} two rates, by {owner[task]!r} and by {name!r}. Name one of the two, or "
                    "parts that share no task."
                )
            owner[task] = name
        if weights[name] and not drawn & set(known[name]):
            raise UserError(
                f"run.weights gives {name!r} the rate {weights[name]:g}, but the mixture leaves its tasks out with the rate 0, "
                "so it has no shares inside it. Leave it out."
            )
    missing = [task.name for task in mixture.drawn_tasks if task.name not in owner]
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3:,} more" if len(missing) > 3 else "")
        raise UserError(
            f"run.weights gives no rate to {len(missing):,} of the {len(drawn):,} tasks that are trained on: {shown}. Give each "
            "a rate by its own name or its cluster's, and 0 to leave it out."
        )
    positive = {name: rate for name, rate in weights.items() if rate}
    left = without(mixture, lambda task: owner.get(task.name) in positive, lambda task: True)
    if left is None:
        raise UserError("run.weights leaves nothing to train on. Give a positive rate to a part that has tasks.")
    units = tuple(
        UnitRate(name, float(rate), tuple(task for task in known[name] if task in drawn))
        for name, rate in positive.items()
    )
    return dataclasses.replace(left, unit_rates=units)
