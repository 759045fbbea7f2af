"""A path as a mixture: every task in it, trained on in proportion to its size."""

import dataclasses
from pathlib import Path

from flan_jax.data.formats.detect import AUTO
from flan_jax.data.formats.origin import LocalFile, data_files, split_files
from flan_jax.data.formats.source import instruction_source
from flan_jax.data.formats.survey import format_of
from flan_jax.data.formats.task import free_name, tasks_in
from flan_jax.data.sources import resolve
from flan_jax.errors import UserError
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.mixing.rates import Policy, Proportional
from flan_jax.tasks.spec import Prompted, TaskSpec


def is_path(name: str) -> bool:
    """Whether a mixture's name is the path of instruction data: a file or folder that is there."""
    return ("/" in name or "." in name) and resolve(name).exists()


def mixture_of_path(path: str | Path, format: str = AUTO, *, policy: Policy | None = None) -> Mixture:
    """The mixture of all tasks in a file, in a folder of files, or in a data set of the hub.

    A folder with ``train.jsonl`` and the like is one task. Another folder gives the tasks of every
    file in it; one with ``tasks/`` and ``splits/`` is the benchmark Super-NaturalInstructions.

    Args:
        path: relative paths start at the data folder.
        format: of the records; told by the first of them unless it is given.
        policy: how tasks share the draws; in proportion to their sizes unless it is given.

    Returns:
        Entries: the tasks. Suites: ``held_in``, the records kept to validate on, and ``test``,
        where there are such.

    Raises:
        UserError: nothing there, or data of no known format.
    """
    place = resolve(path)
    name = str(path)
    if (place / "tasks").is_dir() and (place / "splits").is_dir():
        from flan_jax.data.superni import superni_mixture  # only where it is asked for

        return superni_mixture(name, folder=path, policy=policy)
    specs: list[TaskSpec] = []
    for file in _files(place):
        specs += _tasks(file, format)
    if not specs:
        specs = list(tasks_in(instruction_source(path, format)))
    taken: set[str] = set()
    specs = [dataclasses.replace(spec, name=free_name(spec.name, taken)) for spec in specs]
    tasks = tuple(Prompted(spec) for spec in specs)
    suites = []
    for suite, split in (("held_in", "validation"), ("test", "test")):
        measured = tuple(task for task in tasks if _has(task.spec, split))
        if measured:
            suites.append(Suite(suite, measured, split=split))
    trained = tuple(Entry(task) for task in tasks if "train" in task.splits)
    if not trained:
        raise UserError(f"{name!r} has nothing to train on. Give it a file that is not called test or validation.")
    return Mixture(name, trained, policy=policy or Proportional(), suites=tuple(suites))


def _files(place: Path) -> list[Path]:
    """The files of a folder that stand for themselves."""
    if not place.is_dir() or split_files(place):
        return []
    files = data_files(place)
    return files if len(files) > 1 else []


def _tasks(file: Path, format: str) -> list[TaskSpec]:
    if format_of(LocalFile(file), format).name == "super_natural_instructions":
        from flan_jax.data.superni import superni_task

        return [superni_task(file)]
    return list(tasks_in(instruction_source(file, format)))


def _has(spec: TaskSpec, split: str) -> bool:
    """Whether a split holds anything; one that nobody counts does."""
    if split not in spec.source.splits:
        return False
    inner = getattr(spec.source, "source", spec.source)
    count = getattr(inner, "count", None)
    return count is None or count(split) != 0
