"""Look-ups in seqio's registries, and a mixture found there as one of ours."""

import contextlib
import math
import re
from typing import Any

import seqio
import tensorflow as tf

from flan_jax.data.seqio_bridge import registered_task
from flan_jax.data.seqio_tasks import SeqioTask
from flan_jax.errors import UserError, unknown
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.tasks.spec import Task

TRAIN_SPLIT = "train"
_EVAL_SPLITS = ("validation", "test")
_WHERE_IN_TENSORFLOW = re.compile(
    r"^Error in user-defined function passed to \S+ transformation with iterator: [\w:]+: "
)
_REMEDY = "Name the module that registers it with --module_import MODULE."

# Pipelines run on the processor. TensorFlow would take all of an accelerator's memory, which JAX needs.
with contextlib.suppress(RuntimeError):  # somebody used TensorFlow before, and it is too late
    tf.config.set_visible_devices([], "GPU")


def names() -> tuple[str, ...]:
    """Every mixture and task, sorted."""
    return tuple(sorted({*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()}))


def find_task(name: str) -> seqio.Task:
    """The task of that name.

    Raises:
        UserError: there is none.
    """
    if name not in seqio.TaskRegistry.names():
        raise unknown("seqio task", name, seqio.TaskRegistry.names(), remedy=_REMEDY)
    return seqio.TaskRegistry.get(name)


def count_records(name: str, split: str) -> int:
    """Number of records in a split of a task's source, before any preprocessor."""
    task = find_task(name)
    check_split(task, split)
    try:
        known = task.num_input_examples(split)
        return sum(1 for _ in task.source.get_dataset(split=split, shuffle=False)) if known is None else int(known)
    except Exception as error:
        raise UserError(f"The records of task {name!r}, split {split!r} cannot be counted: {reason(error)}") from error


def check_split(task: seqio.Task, split: str) -> None:
    """Refuses a split that the task does not have."""
    if split not in task.splits:
        raise UserError(f"Task {task.name!r} has no split {split!r}. It has: {', '.join(map(str, task.splits))}.")


def as_mixture(name: str) -> Mixture:
    """See ``flan_jax.data.seqio_tasks.seqio_mixture``."""
    if name not in names():
        raise unknown("seqio mixture or task", name, names(), remedy=_REMEDY)
    found = seqio.get_mixture_or_task(name)
    tasks = {task.name: task for task in seqio.get_subtasks(found)}
    as_ours = {task_name: registered_task(task_name) or SeqioTask(task_name) for task_name in tasks}
    entries = []
    for task_name, task in tasks.items():
        # seqio, too, mixes those tasks only that have the split asked for.
        rate = 0.0 if TRAIN_SPLIT not in task.splits else 1.0 if isinstance(found, seqio.Task) else _rate(found, task)
        entries.append(Entry(as_ours[task_name], rate))
    suites = []
    for split in _EVAL_SPLITS:
        chosen = [as_ours[task_name] for task_name, task in tasks.items() if _measured_on(task) == split]
        if chosen:
            suites.append(Suite(split, tuple(chosen), split=split))
    return Mixture(name, tuple(entries), suites=tuple(suites))


def _measured_on(task: seqio.Task) -> str | None:
    """The split that a task is measured on; ``None`` where it has no such split or no metric that can be computed."""
    ours: Task | None = registered_task(task.name)
    if ours is None and not _measurable(task):
        return None
    return next((split for split in _EVAL_SPLITS if split in task.splits), None)


def metric_objects(task: seqio.Task, kind: seqio.metrics.ModelOutputType) -> list[Any]:
    """The metric objects among a task's ``metric_objs`` that this output, as it is given here, is enough for.

    Scores are as seqio has them. Answers are given as text, which ``PassthroughLegacyMetric`` takes
    in the place of ids; other metrics of predictions decode ids themselves.
    """
    found = []
    for metric in task._metric_objs_constructor_args:
        passes_text = isinstance(metric, seqio.metrics.PassthroughLegacyMetric) or (
            isinstance(metric, type) and issubclass(metric, seqio.metrics.PassthroughLegacyMetric)
        )
        if metric.model_output_type == kind and (passes_text or kind == seqio.metrics.ModelOutputType.SCORE):
            found.append(metric)
    return found


def _measurable(task: seqio.Task) -> bool:
    kinds = (seqio.metrics.ModelOutputType.PREDICTION, seqio.metrics.ModelOutputType.SCORE)
    own = task.predict_metric_fns or task.score_metric_fns
    return bool(own or any(metric_objects(task, kind) for kind in kinds))


def _rate(mixture: seqio.Mixture, task: seqio.Task) -> float:
    try:
        rate = float(mixture.get_rate(task))
    except Exception as error:
        raise UserError(
            f"Mixture {mixture.name!r}: the rate of task {task.name!r} cannot be computed ({reason(error)}). Give it a "
            "number, or its source num_input_examples."
        ) from error
    if not math.isfinite(rate) or rate < 0:
        raise UserError(
            f"Mixture {mixture.name!r} gives task {task.name!r} the rate {rate}. Give it a finite one of at least 0."
        )
    return rate


def reason(error: BaseException, limit: int = 300) -> str:
    """The first line of somebody else's error, with its type, and without what TensorFlow puts before it."""
    text = str(getattr(error, "message", None) or error).strip()
    while text.startswith("{{") and "}}" in text:
        text = text.partition("}}")[2].strip()
    lines = [line.strip() for line in text.split("\n") if line.strip()] or [""]
    # Of an error in traced code TensorFlow tells the traceback first and what happened last.
    line = lines[-1] if lines[0] == "in user code:" else _WHERE_IN_TENSORFLOW.sub("", lines[0])
    kind = type(error).__name__
    shown = line if line.startswith(kind) or not line else f"{kind}: {line}"
    shown = shown or kind
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
