"""Converts a mixture of seqio's registry to a ``Mixture`` (``seqio_mixture``)."""

import math

import seqio

from flan_jax.data.seqio_bridge.register import registered_task
from flan_jax.data.seqio_bridge.registry import REMEDY, first_line, has_metrics, names, splits_of
from flan_jax.data.seqio_bridge.tasks import SeqioTask
from flan_jax.errors import UserError, unknown
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.tasks.task import Task

TRAIN_SPLIT = "train"
_EVAL_SPLITS = ("validation", "test")


def seqio_mixture(name: str) -> Mixture:
    """Converts a mixture or task of seqio's registry to a ``Mixture``.

    Its rates are the numbers that seqio resolves: rates that are functions are called, and nested
    mixtures are flattened as seqio samples them. Tasks with metric functions make up the suite
    ``validation``, or ``test`` where they have only that split.

    Raises:
        UserError: no such name, or a rate that cannot be computed.
    """
    if name not in names():
        raise unknown("seqio mixture or task", name, names(), remedy=REMEDY)
    found = seqio.get_mixture_or_task(name)
    tasks = {task.name: task for task in seqio.get_subtasks(found)}
    converted = {task_name: registered_task(task_name) or SeqioTask(task_name) for task_name in tasks}
    entries = []
    for task_name, task in tasks.items():
        # seqio, too, mixes those tasks only that have the split asked for.
        rate = (
            0.0 if TRAIN_SPLIT not in splits_of(task) else 1.0 if isinstance(found, seqio.Task) else _rate(found, task)
        )
        entries.append(Entry(converted[task_name], rate))
    suites = []
    for split in _EVAL_SPLITS:
        chosen = [converted[task_name] for task_name, task in tasks.items() if _measured_on(task) == split]
        if chosen:
            suites.append(Suite(split, tuple(chosen), split=split))
    return Mixture(name, tuple(entries), suites=tuple(suites))


def _measured_on(task: seqio.Task) -> str | None:
    """Returns the split that a task is measured on; ``None`` without such a split or a metric that can be computed."""
    ours: Task | None = registered_task(task.name)
    if ours is None and not has_metrics(task):
        return None
    return next((split for split in _EVAL_SPLITS if split in splits_of(task)), None)


def _rate(mixture: seqio.Mixture, task: seqio.Task) -> float:
    try:
        rate = float(mixture.get_rate(task))
    except Exception as error:
        raise UserError(
            f"Mixture {mixture.name!r}: the rate of task {task.name!r} cannot be computed ({first_line(error)}). Give it a "
            "number, or its source num_input_examples."
        ) from error
    if not math.isfinite(rate) or rate < 0:
        raise UserError(
            f"Mixture {mixture.name!r} gives task {task.name!r} the rate {rate}. Give it a finite one of at least 0."
        )
    return rate
