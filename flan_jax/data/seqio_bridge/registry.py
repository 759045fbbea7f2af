"""Looks up tasks, splits, records and metrics in seqio's registries."""

import contextlib
import re
from typing import Any

import seqio
import tensorflow as tf

from flan_jax.errors import UserError, unknown

_WHERE_IN_TENSORFLOW = re.compile(
    r"^Error in user-defined function passed to \S+ transformation with iterator: [\w:]+: "
)
REMEDY = "Name the module that registers it with --module_import MODULE."

# Pipelines run on the processor. TensorFlow would take all of an accelerator's memory, which JAX needs.
with contextlib.suppress(RuntimeError):  # somebody used TensorFlow before, and it is too late
    tf.config.set_visible_devices([], "GPU")


def names() -> tuple[str, ...]:
    """Returns the names of every mixture and task, sorted."""
    return tuple(sorted({*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()}))


def find_task(name: str) -> seqio.Task:
    """Returns the task of that name.

    Raises:
        UserError: there is none.
    """
    if name not in seqio.TaskRegistry.names():
        raise unknown("seqio task", name, seqio.TaskRegistry.names(), remedy=REMEDY)
    return seqio.TaskRegistry.get(name)


def splits_of(task: seqio.Task) -> tuple[str, ...]:
    """Returns the splits of a task's source.

    Raises:
        UserError: the source cannot say them; a TFDS data set that was never prepared on this machine has none.
    """
    try:
        found = tuple(map(str, task.source.splits))
    except Exception as error:  # whatever somebody's source raises
        raise UserError(f"{_unreadable_source(task)} ({first_line(error)})") from error
    if not found:
        raise UserError(f"{_unreadable_source(task)}, so it has no splits.")
    return found


def _unreadable_source(task: seqio.Task) -> str:
    if isinstance(task.source, seqio.TfdsDataSource):
        name = task.source.tfds_dataset.name
        return (
            f"The data of task {task.name!r} are not on this machine. Prepare the TFDS data set {name!r} "
            "(`tfds build`), or name the folder that holds it with TFDS_DATA_DIR"
        )
    return f"The source of task {task.name!r}, a {type(task.source).__name__}, cannot be read"


def count_records(name: str, split: str) -> int:
    """Counts the records of a split of a task's source, before any preprocessor."""
    task = find_task(name)
    check_split(task, split)
    try:
        known = task.num_input_examples(split)
        return sum(1 for _ in task.source.get_dataset(split=split, shuffle=False)) if known is None else int(known)
    except Exception as error:
        raise UserError(
            f"The records of task {name!r}, split {split!r} cannot be counted: {first_line(error)}"
        ) from error


def check_split(task: seqio.Task, split: str) -> None:
    """Refuses a split that the task does not have."""
    splits = splits_of(task)
    if split not in splits:
        raise UserError(f"Task {task.name!r} has no split {split!r}. It has: {', '.join(splits)}.")


def metric_objects(task: seqio.Task, kind: seqio.metrics.ModelOutputType) -> list[Any]:
    """Selects the metric objects of a task that can be computed from this kind of output.

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


def has_metrics(task: seqio.Task) -> bool:
    """Tells whether a task has a metric that can be computed from answers or scores."""
    kinds = (seqio.metrics.ModelOutputType.PREDICTION, seqio.metrics.ModelOutputType.SCORE)
    own = task.predict_metric_fns or task.score_metric_fns
    return bool(own or any(metric_objects(task, kind) for kind in kinds))


def first_line(error: BaseException, limit: int = 300) -> str:
    """Returns the first line of a foreign error, with its type, and without what TensorFlow puts before it."""
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
