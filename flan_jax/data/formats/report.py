"""What instruction data holds: counts of records, of what they give, of what is left out and why."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flan_jax.data.formats.cleaning import Cleaning
from flan_jax.data.formats.detect import AUTO
from flan_jax.data.formats.origin import LocalFile, Origin, data_files, origins, split_files
from flan_jax.data.formats.own_cleaning import chosen_cleaning
from flan_jax.data.formats.record_format import Format
from flan_jax.data.formats.spelling import unspelled
from flan_jax.data.formats.survey import format_of, survey
from flan_jax.data.sources import resolve
from flan_jax.data.tokenizers import Vocabulary


@dataclasses.dataclass(frozen=True)
class FileReport:
    """What one file, or one split of a data set of the hub, holds.

    Attributes:
        place: the file.
        format: the name of its format.
        kind: ``chat``, ``instruction`` or ``rendered``: what its records become.
        records: as published.
        examples: records that they give, cleaned.
        messages: in the conversations among these.
        turns: of these, the assistant's.
        tasks: tasks that a dump names.
        left_out: reason or cleaning step → how many it left out.
        changed: cleaning step → records that it changed.
        added: cleaning step → records that it made beyond those it was given.
        noticed: what a cleaning step saw and left as it is → how often.
        unknown: side → the ids and texts of what a vocabulary cannot say, where one is given.
        repeated: messages of a speaker right behind one of the same: they are merged unless the task says otherwise.
        unreadable: records, or examples in them, that cannot be read.
        reasons: why the first of these cannot, with file and line.
        not_read: key → records in which it says something that nothing reads.
    """

    place: str
    format: str
    kind: str
    records: int
    examples: int
    messages: int
    turns: int
    tasks: int
    left_out: Mapping[str, int]
    changed: Mapping[str, int]
    added: Mapping[str, int]
    unreadable: int
    reasons: tuple[str, ...]
    noticed: Mapping[str, int] = dataclasses.field(default_factory=dict)
    repeated: int = 0
    not_read: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unknown: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class DataReport:
    """What instruction data holds, file by file."""

    files: tuple[FileReport, ...]

    def total(self, count: str) -> int:
        """The sum of a count over the files."""
        return sum(getattr(file, count) for file in self.files)

    def totals(self, counts: str) -> dict[str, int]:
        """The sums of ``left_out``, ``changed`` or ``added``, by reason or step."""
        sums: dict[str, int] = {}
        for file in self.files:
            for name, number in getattr(file, counts).items():
                sums[name] = sums.get(name, 0) + number
        return sums

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        counts = ("records", "examples", "messages", "turns", "unreadable")
        return {
            **{count: self.total(count) for count in counts},
            "left_out": self.totals("left_out"),
            "not_read": self.totals("not_read"),
            "files": [dataclasses.asdict(file) for file in self.files],
        }


def data_report(
    path_or_hub: str | Path,
    format: str | Format = AUTO,
    *,
    cleaning: Cleaning | None = None,
    clean: tuple[str, ...] = (),
    no_clean: tuple[str, ...] = (),
    vocabulary: Vocabulary | None = None,
) -> DataReport:
    """Reads instruction data whole and counts.

    Args:
        path_or_hub: a file, a folder, or a data set of the hub, as for ``instruction_source``; of a
            folder, every file of records is read.
        format: as for ``instruction_source``.
        cleaning: the steps; as for ``instruction_source`` where none are given.
        clean: steps to take beside these.
        no_clean: steps not to take; ``all`` for none at all.
        vocabulary: counts what it cannot say, if it is given.

    Raises:
        UserError: nothing there, an unknown step, or data of no known format.
    """
    return DataReport(
        tuple(
            _report(
                origin,
                format,
                chosen_cleaning(origin, format_of(origin, format), cleaning, clean, no_clean),
                vocabulary,
            )
            for origin in _all_origins(str(path_or_hub))
        )
    )


def _all_origins(place: str) -> Iterator[Origin]:
    path = resolve(place)
    if (path / "tasks").is_dir() and (path / "splits").is_dir():  # the benchmark Super-NaturalInstructions
        path = path / "tasks"
    if path.is_dir() and not split_files(path) and len(data_files(path)) > 1:
        for file in data_files(path):
            yield LocalFile(file)
    else:
        yield from origins(place).values()


def _report(origin: Origin, format: str | Format, cleaning: Cleaning, vocabulary: Vocabulary | None) -> FileReport:
    found = survey(origin, format, cleaning, 0, 0)
    steps = found.steps
    return FileReport(
        place=str(origin.path) if isinstance(origin, LocalFile) else origin.place(0).rpartition(", ")[0],
        format=found.format.name,
        kind=found.format.kind,
        records=found.records,
        examples=found.examples,
        messages=found.messages,
        turns=found.turns,
        tasks=sum(task != "" for task in found.tasks),
        left_out={**found.left_out, **{name: step.left_out for name, step in steps.items()}},
        changed={name: step.changed for name, step in steps.items() if step.changed},
        added={name: step.added for name, step in steps.items() if step.added},
        unreadable=found.unreadable,
        reasons=found.reasons,
        noticed={kind: number for step in steps.values() for kind, number in step.noticed.items()},
        repeated=found.repeated,
        not_read=found.not_read,
        unknown=unspelled(origin, found.format, found.cleaning, vocabulary) if vocabulary else {},
    )
