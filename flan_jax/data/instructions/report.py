"""Reports on instruction data: counts of records, examples, cleaning and unreadable records (``data_report``)."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.data.file_readers.folder_files import folder_files
from flan_jax.data.formats.detect import AUTO
from flan_jax.data.formats.record_format import Format
from flan_jax.data.instructions.mixture import (
    no_training_data,
    part_tasks,
    path_tasks,
    test_name_notes,
    unused_file_notes,
)
from flan_jax.data.instructions.origin import LocalFile, Origin, local_file, origins
from flan_jax.data.instructions.profile import profile_origin
from flan_jax.data.instructions.reading_options import ReadingOptions
from flan_jax.data.instructions.render_check import RenderCheck, check_rendering
from flan_jax.data.instructions.vocabulary_check import count_unknown_tokens
from flan_jax.data.prepare.config import as_written
from flan_jax.data.sources.base import resolve
from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.tasks.chat.conversation import Opening
from flan_jax.tasks.spec import TaskSpec


@dataclasses.dataclass(frozen=True)
class FileReport:
    """Counts of one file, or of one split of a data set of the hub.

    Attributes:
        place: the file, or the first of several that are read one behind the other.
        split: the split that its name says: ``train``, ``validation`` or ``test``.
        files: how many files these are.
        format: the name of its format.
        kind: ``chat``, ``instruction`` or ``rendered``: what its records become.
        records: as published.
        examples: records that they give, cleaned.
        messages: in the conversations among these.
        turns: of these, the assistant's.
        tasks: tasks that a dump names.
        filtered: reason or cleaning step → records that it left out.
        changed: cleaning step → records that it changed.
        added: cleaning step → records that it made beyond those it was given.
        noticed: finding of a cleaning step that changed nothing → how often.
        unknown: side → counts of a vocabulary's unknown ids and examples of them, where one is given.
        repeated: messages of a speaker right behind one of the same: they are merged unless the task says otherwise.
        usable: examples that ``prepare`` can make of them: of conversations, replies.
        unreadable: records, or examples in them, that cannot be read, or that cannot be rendered.
        reasons: why the first of these cannot, with file and line.
        not_read: key → records in which it says something that nothing reads.
    """

    place: str
    split: str
    files: int
    format: str
    kind: str
    records: int
    examples: int
    messages: int
    turns: int
    tasks: int
    filtered: Mapping[str, int]
    changed: Mapping[str, int]
    added: Mapping[str, int]
    usable: int
    unreadable: int
    reasons: tuple[str, ...]
    noticed: Mapping[str, int] = dataclasses.field(default_factory=dict)
    repeated: int = 0
    not_read: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unknown: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class DataReport:
    """Counts of instruction data, file by file.

    Attributes:
        files: those that are read.
        notes: what else is to be said, such as which files are not used.
        refused: why there is nothing to train on; ``""`` where there is something.
    """

    files: tuple[FileReport, ...]
    notes: tuple[str, ...] = ()
    refused: str = ""

    def total(self, count: str) -> int:
        """Sums a count over the files."""
        return sum(getattr(file, count) for file in self.files)

    def totals(self, counts: str) -> dict[str, int]:
        """Sums ``filtered``, ``changed`` or ``added`` over the files, by reason or step."""
        sums: dict[str, int] = {}
        for file in self.files:
            for name, number in getattr(file, counts).items():
                sums[name] = sums.get(name, 0) + number
        return sums

    def as_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        counts = ("records", "examples", "messages", "turns", "usable", "unreadable")
        return {
            **{count: self.total(count) for count in counts},
            "left_out": self.totals("filtered"),
            "not_read": self.totals("not_read"),
            "notes": list(self.notes),
            "refused": self.refused,
            "files": [as_written(dataclasses.asdict(file)) for file in self.files],
        }


def data_report(
    path_or_hub: str | Path,
    format: str | Format = AUTO,
    *,
    clean: tuple[str, ...] = (),
    no_clean: tuple[str, ...] = (),
    opening: Opening = "fail",
    vocabulary: Vocabulary | None = None,
) -> DataReport:
    """Reads instruction data whole, as ``prepare`` will read it, and counts.

    Args:
        path_or_hub: a file, a folder, or a data set of the hub, as for ``mixture_of_path``.
        format: as for ``ReadingOptions``. So are:
        clean: steps to take beside the format's own.
        no_clean: steps not to take; ``all`` for none at all.
        opening: what becomes of an assistant's words before any user's.
        vocabulary: its unknown ids are counted, if it is given.

    Raises:
        UserError: nothing there, an unknown step, or data of no known format.
    """
    place, reading = str(path_or_hub), ReadingOptions(format, clean, no_clean, opening)
    path = resolve(place)
    if (path / "tasks").is_dir() and (path / "splits").is_dir():  # the benchmark Super-NaturalInstructions
        place, path = str(path / "tasks"), path / "tasks"
    if not path.is_dir():
        specs = path_tasks(place, reading)
        files = _reports(origins(place), specs, reading, vocabulary)
        return _with_refusal(DataReport(tuple(files), tuple(test_name_notes(path))), place)
    found = folder_files(path)
    reports: list[FileReport] = []
    for part in found.parts:
        specs = part_tasks(path, place, part, reading, alone=len(found.parts) == 1)
        reports += _reports({split: local_file(own) for split, own in part.splits.items()}, specs, reading, vocabulary)
    notes = (*test_name_notes(path), *unused_file_notes(path, found))
    refused = "" if found.trained else str(no_training_data(place, path, found))
    return _with_refusal(DataReport(tuple(reports), notes, refused), place)


def _with_refusal(report: DataReport, place: str) -> DataReport:
    trained = [file for file in report.files if file.split == "train"]
    if report.refused or any(file.usable for file in trained):
        return report
    reasons = [reason for file in trained for reason in file.reasons]
    why = f" The first that cannot be: {reasons[0]}" if reasons else " Every one is left out, as the counts above say."
    count = sum(file.records for file in trained)
    return dataclasses.replace(report, refused=f"{place!r}: of {count:,} records to train on none can be used.{why}")


def _reports(
    found: Mapping[str, Origin], specs: Sequence[TaskSpec], reading: ReadingOptions, vocabulary: Vocabulary | None
) -> Iterator[FileReport]:
    """Yields a report for each split, with the counts of rendering its tasks."""
    checks = {split: RenderCheck() for split in found}
    for spec in specs:
        for split in spec.source.splits:
            # What validates without a file of its own is a part of what is trained on.
            check_rendering(spec, split, checks[split if split in checks else "train"])
    for split, origin in found.items():
        yield _report(origin, split, reading, vocabulary, checks[split])


def _report(
    origin: Origin, split: str, reading: ReadingOptions, vocabulary: Vocabulary | None, check: RenderCheck
) -> FileReport:
    cleaning = reading.cleaning(origin)
    found = profile_origin(origin, reading.format, cleaning, 0, 0)
    steps = found.steps
    no_examples = {"no examples of the task": check.filtered} if check.filtered else {}
    return FileReport(
        place=str(origin.path) if isinstance(origin, LocalFile) else origin.place(0).rpartition(", ")[0],
        split=split,
        files=len(origin.paths) if isinstance(origin, LocalFile) else 1,
        format=found.format.name,
        kind=found.format.kind,
        records=found.records,
        examples=found.examples,
        messages=found.messages,
        turns=found.turns,
        tasks=sum(task != "" for task in found.tasks),
        filtered={**found.filtered, **{name: step.filtered for name, step in steps.items()}, **no_examples},
        changed={name: step.changed for name, step in steps.items() if step.changed},
        added={name: step.added for name, step in steps.items() if step.added},
        usable=check.usable,
        unreadable=check.refused,
        reasons=tuple(check.reasons),
        noticed={kind: number for step in steps.values() for kind, number in step.noticed.items()},
        repeated=found.repeated,
        not_read=found.not_read,
        unknown=count_unknown_tokens(origin, found.format, found.cleaning, vocabulary) if vocabulary else {},
    )
