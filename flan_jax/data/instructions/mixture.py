"""Makes a mixture of a path of instruction data: every task in it, in proportion to its size (``mixture_of_path``)."""

import dataclasses
from pathlib import Path

from flan_jax.data.file_readers.compressed import stem_of
from flan_jax.data.file_readers.folder_files import FolderFiles, FolderPart, folder_files
from flan_jax.data.file_readers.records import is_one_object
from flan_jax.data.file_readers.suffixes import suffix_of
from flan_jax.data.formats.detect import AUTO
from flan_jax.data.formats.record_format import Format
from flan_jax.data.instructions.origin import LocalFile, no_single_task
from flan_jax.data.instructions.profile import format_of
from flan_jax.data.instructions.reading_options import ReadingOptions
from flan_jax.data.instructions.source import InstructionSource, instruction_source
from flan_jax.data.instructions.task import tasks_in, to_identifier, unique_name
from flan_jax.data.sources.base import resolve
from flan_jax.data.sources.split_names import split_name
from flan_jax.errors import UserError
from flan_jax.mixing.mixture import Entry, Mixture, Suite
from flan_jax.mixing.policies import Policy, Proportional
from flan_jax.tasks.spec import Prompted, TaskSpec


def is_path(name: str) -> bool:
    """Tells whether a mixture's name is the path of instruction data: a file or folder that is there."""
    return ("/" in name or "." in name) and resolve(name).exists()


def mixture_of_path(
    path: str | Path,
    format: str | Format = AUTO,
    *,
    policy: Policy | None = None,
    reading: ReadingOptions | None = None,
) -> Mixture:
    """Makes the mixture of all tasks in a file, in a folder of files, or in a data set of the hub.

    The files of a folder are tasks and splits of tasks as ``flan_jax.data.file_readers.folder_files`` says; a folder with
    ``tasks/`` and ``splits/`` is the benchmark Super-NaturalInstructions. What is not read is among the mixture's notes.

    Args:
        path: relative paths start at the data folder.
        format: of the records; detected from the first of them by default.
        policy: how tasks share the draws; in proportion to their sizes by default.
        reading: how the data is read, its format too.

    Returns:
        Entries: the tasks. Suites: ``held_in``, the records kept to validate on, and ``test``,
        where there are such.

    Raises:
        UserError: nothing there, or data of no known format.
    """
    place = resolve(path)
    name = str(path)
    reading = reading or ReadingOptions(format)
    if (place / "tasks").is_dir() and (place / "splits").is_dir():
        from flan_jax.data.collections.superni import superni_mixture  # only where it is asked for

        if reading.as_flags:
            raise UserError(
                f"{name!r} is a folder of Super-NaturalInstructions, which takes no {reading.as_flags}. Leave it out."
            )
        return superni_mixture(name, folder=path, policy=policy)
    notes = list(test_name_notes(place))
    specs: list[TaskSpec] = []
    if place.is_dir():
        found = folder_files(place)
        notes += unused_file_notes(place, found)
        if not found.trained:
            raise no_training_data(name, place, found)
        for part in found.parts:
            specs += part_tasks(place, name, part, reading, alone=len(found.parts) == 1)
    else:
        specs += path_tasks(name, reading)
    taken: set[str] = set()
    specs = [dataclasses.replace(spec, name=unique_name(spec.name, taken)) for spec in specs]
    tasks = tuple(Prompted(spec) for spec in specs)
    suites = []
    for suite, split in (("held_in", "validation"), ("test", "test")):
        measured = tuple(task for task in tasks if _has_records(task.spec, split))
        if measured:
            suites.append(Suite(suite, measured, split=split))
    trained = [task for task in tasks if "train" in task.splits]
    # A dump may have a task in its test split alone; that nothing at all is there is told when it is prepared.
    entries = tuple(Entry(task) for task in [task for task in trained if _has_records(task.spec, "train")] or trained)
    return Mixture(name, entries, policy=policy or Proportional(), suites=tuple(suites), notes=tuple(notes))


def unused_file_notes(folder: Path, found: FolderFiles) -> list[str]:
    """Returns a sentence on every file and folder that is not read."""
    return [f"{folder}: not used: {one.path.relative_to(folder)}: {one.reason}" for one in found.unused]


def test_name_notes(place: Path) -> list[str]:
    """Returns a note where a file or folder to train on is called like a test split."""
    name = split_name(stem_of(place) if place.is_file() else place.name)
    # A folder may be called anything; one that is called by a split alone is that split.
    if name.split in ("", "train") or not place.exists() or (place.is_dir() and name.rest):
        return []
    return [
        f"{place}: its name says {' and '.join(map(repr, name.words))}, and it is trained on as it was named itself; "
        "a folder with it would keep it apart"
    ]


def no_training_data(name: str, place: Path, found: FolderFiles) -> UserError:
    """Makes the error of a folder whose files all validate or test, or that has none."""
    if not found.parts:
        return no_single_task(place, found)
    measured = [str(path.relative_to(place)) for part in found.parts for own in part.splits.values() for path in own]
    return UserError(
        f"{name!r} has nothing to train on: the names of its files ({', '.join(measured[:5])}"
        f"{', …' if len(measured) > 5 else ''}) say validation or test. Give it a file that is not called test or validation, "
        "or name one of them itself."
    )


def path_tasks(name: str, reading: ReadingOptions) -> list[TaskSpec]:
    """Makes the tasks of a file, or of a data set of the hub."""
    place = resolve(name)
    return (
        _tasks(place, reading) if place.is_file() else _source_tasks(instruction_source(name, reading.format), reading)
    )


def part_tasks(folder: Path, name: str, part: FolderPart, reading: ReadingOptions, *, alone: bool) -> list[TaskSpec]:
    """Makes the tasks of a part of a folder: those of its file where it has one only, or one task with several splits."""
    files = part.splits.get("train", ())
    single = len(part.splits) == 1 and len(files) == 1
    if single and not (part.named and not part.name and files[0].parent == folder and files[0].suffix != ".arrow"):
        return _tasks(files[0], reading, to_identifier(part.name) if files[0].parent != folder and part.name else "")
    source = instruction_source(name, reading.format, part=None if alone else part.name)
    return _source_tasks(source, reading)


def _tasks(file: Path, reading: ReadingOptions, name: str = "") -> list[TaskSpec]:
    known = format_of(LocalFile(file), reading.format)
    # A list of tasks is read as its instances: no prompt of theirs shows worked examples.
    if known.name == "super_natural_instructions" and suffix_of(file) == ".json" and is_one_object(file):
        from flan_jax.data.collections.superni import superni_task

        return [superni_task(file)]
    return _source_tasks(instruction_source(file, reading.format), reading, name)


def _source_tasks(source: InstructionSource, reading: ReadingOptions, name: str = "") -> list[TaskSpec]:
    kinds = {format_of(source.origin(split)[0], source.format).kind: split for split in reversed(source.splits)}
    if len(kinds) > 1:
        (one, first), (other, second) = list(kinds.items())[:2]
        raise UserError(
            f"{source.describe()}: its split {first!r} has {one} records and its split {second!r} {other} records. Keep them apart."
        )
    source = dataclasses.replace(source, clean=reading.clean, no_clean=reading.no_clean)
    return list(tasks_in(source, name, **reading.options(next(iter(kinds)))))


def _has_records(spec: TaskSpec, split: str) -> bool:
    """Tells whether a split has records; a source that does not count them is taken to."""
    return split in spec.source.splits and not spec.source.is_empty(split)
