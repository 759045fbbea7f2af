"""A source over instruction data of any known format, from a file, a folder or the hub (``instruction_source``)."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.data.formats.cleaning import STEPS, Cleaning
from flan_jax.data.formats.detect import AUTO, get_format
from flan_jax.data.formats.record_format import Format
from flan_jax.data.formats.record_meanings import VERSION as MEANINGS_VERSION
from flan_jax.data.instructions.default_cleaning import select_cleaning
from flan_jax.data.instructions.origin import HubPart, Origin, origins
from flan_jax.data.instructions.profile import (
    DatasetProfile,
    SplitAssignment,
    format_of,
    normalized_records,
    profile_origin,
    split_hash,
    task_of,
)
from flan_jax.data.prepare.config import as_written
from flan_jax.data.prepare.fingerprints import callable_digest
from flan_jax.data.sources.base import SPLITS, digest, resolve
from flan_jax.errors import RecordError, UserError, unknown
from flan_jax.tasks.source import NumberedRecord, Record, Source

_VERSION = 2
"""Raised when the same files give other records."""
VALIDATION_LIMIT = 200


@dataclasses.dataclass(frozen=True)
class InstructionSource(Source):
    """A source of the normalized records of published instruction data. See ``instruction_source``.

    Attributes:
        task: of a dump of several tasks, the one whose records these are; ``None`` for all.
        reports_unreadable: records that cannot be read are among its own, as these belong to no task.
        clean: cleaning steps beside those of ``cleaning``.
        no_clean: of these, those not to take.
        part: of a folder of several tasks, the one whose files these are; ``None`` where it is one.
    """

    name: str
    format: str | Format = AUTO
    cleaning: Cleaning | None = None
    max_validation: int = VALIDATION_LIMIT
    seed: int = 0
    parts: tuple[tuple[str, str], ...] = ()
    task: str | None = None
    reports_unreadable: bool = True
    clean: tuple[str, ...] = ()
    no_clean: tuple[str, ...] = ()
    part: str | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits with files of their own, and ``validation`` where a part of the training file validates."""
        found = set(self._origins()) if self.parts or resolve(self.name).exists() else {"train"}
        if "train" in found and self.max_validation:
            found.add("validation")
        return tuple(split for split in SPLITS if split in found)

    def _origins(self) -> dict[str, Origin]:
        return origins(self.name, self.parts, self.part)

    def origin(self, split: str) -> tuple[Origin, int]:
        """Returns where the records of a split are, and how many of them validate at most."""
        if split not in self.splits:
            raise UserError(f"{self.describe()} has no split {split!r}. It has: {', '.join(self.splits)}.")
        found = self._origins()
        if split in found:
            return found[split], self.max_validation if split == "train" and "validation" not in found else 0
        return found["train"], self.max_validation

    def profile(self, split: str = "train") -> DatasetProfile:
        """Profiles the file of ``split``: its format, counts, and the records that were filtered.

        Raises:
            UserError: no such file, or one of no known format.
        """
        origin, held = self.origin(split)
        return profile_origin(origin, self.format, self._cleaning(origin), held, self.seed)

    def _cleaning(self, origin: Origin) -> Cleaning:
        known = format_of(origin, self.format)
        return select_cleaning(origin, known, self.cleaning, self.clean, self.no_clean)

    def notes(self, split: str) -> Mapping[str, Any]:
        """Counts what was filtered, changed or not read of the file of ``split``, as JSON values for manifests."""
        origin, _ = self.origin(split)
        found = self.profile(split)
        steps = {step: count for step, count in found.steps.items() if any(vars(count).values())}
        return {
            "place": origin.place(0).rpartition(", ")[0],
            "records": found.records,
            "left_out": dict(found.filtered),
            "not_read": dict(found.not_read),
            "steps": {step: as_written(dataclasses.asdict(count)) for step, count in steps.items()},
        }

    @property
    def known_format(self) -> Format:
        """The format of the records, detected from the head of the file unless it was given.

        Raises:
            UserError: no such file, or one of no known format.
        """
        return format_of(self.origin(self.splits[0])[0], self.format)

    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Yields the normalized records of ``split``, in the order of the file.

        Raises:
            UserError: no such file, or no known format.
        """
        origin, _ = self.origin(split)
        for index, (number, record) in enumerate(self._numbered(split)):
            if isinstance(record, UserError):
                record = RecordError(f"{origin.place(number)}: {record}")
            yield index, record

    def _numbered(self, split: str) -> Iterator[tuple[int, Record | UserError]]:
        """Yields numbered records of a split; unreadable ones in ``train``, as nobody knows what they ask."""
        origin, held = self.origin(split)
        found = self.profile(split)
        assignments: dict[str, SplitAssignment] = dict(found.tasks)
        only: list[int] | None = None
        if self.task:  # one of many, maybe: what the others have is not read again for each
            only = sorted({*self._own(found)[self.task].numbers, *(found.damaged if self.reports_unreadable else ())})
        cleaner = found.cleaning.cleaner()
        for number, key, record in normalized_records(origin, found.format, cleaner, lambda reason: None, only=only):
            if isinstance(record, UserError):
                if self.reports_unreadable and not (held and split == "validation"):
                    yield number, record
                continue
            task = task_of(record)
            if self.task is not None and task != self.task:
                continue
            if held and (split_hash(self.seed, key) <= assignments[task].max_hash) != (split == "validation"):
                continue
            yield number, record

    def _own(self, found: DatasetProfile) -> Mapping[str, SplitAssignment]:
        """Returns the split assignments of this source's tasks; an empty one for a task that the split has no records of."""
        return found.tasks if self.task is None else {self.task: found.tasks.get(self.task, SplitAssignment(-1, 0, 0))}

    def place(self, split: str, index: int) -> str:
        """Names the file and line of record ``index``."""
        origin, _ = self.origin(split)
        found = next(itertools.islice(self._numbered(split), index, None), None)
        return f"{self.describe()}, split {split!r}, record {index}" if found is None else origin.place(found[0])

    def count(self, split: str) -> int | None:
        """Counts the records, unreadable ones among them; ``None`` for the hub, which is not fetched for it."""
        origin, held = self.origin(split)
        if isinstance(origin, HubPart):
            return None
        found = self.profile(split)
        tasks = self._own(found)
        if held and split == "validation":
            return sum(assignment.validation for assignment in tasks.values())
        return sum(assignment.train for assignment in tasks.values()) + found.unreadable * self.reports_unreadable

    def fingerprint(self, split: str) -> str:
        """Digests the content, the format, the cleaning, and the division of the file; hexadecimal."""
        origin, held = self.origin(split)
        known = format_of(origin, self.format)
        cleaning = self._cleaning(origin)
        return digest(
            "instructions",
            _VERSION,
            MEANINGS_VERSION,
            origin.fingerprint(),
            known.name,
            known.parameters,
            callable_digest(known.read),
            callable_digest(known.gather) if known.gather else "",
            cleaning.steps,
            cleaning.phrases if "refused" in cleaning.steps else "",
            (cleaning.max_length, callable_digest(cleaning.length)) if "split" in cleaning.steps else "",
            cleaning.certain_only if "placeholders" in cleaning.steps else "",
            (split == "validation", held, self.seed) if held else "",
            self.task,
        )

    def size_hint(self, split: str) -> int | None:
        """Returns the bytes of the file; ``None`` for the hub."""
        return self.origin(split)[0].size_hint()

    def describe(self) -> str:
        """Names format and place of the data."""
        known = self.format if isinstance(self.format, str) else self.format.name
        kind = "instruction data" if known == AUTO else f"{known} data"
        part = f", files of {self.part!r}" if self.part else ""
        return f"{kind} {self.name!r}{part}" + (f", task {self.task!r}" if self.task else "")


def instruction_source(
    path_or_hub: Any,
    format: str | Format = AUTO,
    *,
    cleaning: Cleaning | None = None,
    clean: Sequence[str] = (),
    no_clean: Sequence[str] = (),
    max_validation: int = VALIDATION_LIMIT,
    seed: int = 0,
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    part: str | None = None,
) -> InstructionSource:
    """Makes a source over instruction data in the format that it is published in.

    Args:
        path_or_hub: a file; a folder with ``train.jsonl`` and maybe ``validation.jsonl`` and ``test.jsonl`` (or other
            endings and names: ``flan_jax.data.file_readers.folder_files``); or ``OWNER/NAME[:CONFIG][@REVISION]`` on the hub.
            Relative paths start at the data folder.
        format: the name of a format, a ``Format``, or ``auto`` to detect it from the first records.
        cleaning: the steps; where none are given, those that lose nothing, and those of its own paper for a
            published data set that is known by its name.
        clean: steps to take beside these.
        no_clean: steps not to take; ``all`` for none of them.
        max_validation: where nothing else validates, at most so many training records do, and a
            tenth at most, chosen by a hash of what they ask; 0 for none.
        seed: which records those are.
        train: for the hub, the split expression to train on (``train`` unless any is given).
        validation: as above.
        test: as above.
        part: of a folder of several tasks, what the names of one's files share.

    Raises:
        UserError: an unknown format or cleaning step, or a negative limit.
    """
    if isinstance(format, str) and format != AUTO:
        get_format(format)
    if max_validation < 0:
        raise UserError(f"Instruction data {str(path_or_hub)!r}: max_validation={max_validation} must be 0 or more.")
    given = {"train": train, "validation": validation, "test": test}
    parts = tuple((split, part) for split, part in given.items() if part is not None)
    for step in (*clean, *(step for step in no_clean if step != "all")):
        if step not in STEPS:
            raise unknown("cleaning step", step, STEPS)
    return InstructionSource(
        str(path_or_hub),
        format,
        cleaning,
        max_validation,
        seed,
        parts,
        clean=tuple(clean),
        no_clean=tuple(no_clean),
        part=part,
    )
