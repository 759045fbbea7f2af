"""Profiles instruction data in one pass: format, counts, filtered records, and which records validate.

``normalized_records`` is the pass, ``profile_origin`` the profile, which is cached until the data changes.
"""

import array
import dataclasses
import functools
import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.data.file_readers.delimited import why_not_flan_cot
from flan_jax.data.formats.cleaning import Cleaner, Cleaning, StepCount
from flan_jax.data.formats.detect import AUTO, SAMPLE, detect_format, get_format
from flan_jax.data.formats.record_format import Format, LeftOut, Numbered
from flan_jax.data.formats.record_meanings import read_record
from flan_jax.data.formats.unread_keys import count_unread
from flan_jax.data.instructions.default_cleaning import default_cleaning
from flan_jax.data.instructions.origin import LocalFile, Origin
from flan_jax.errors import UserError
from flan_jax.tasks.chat.conversation import repeated_turns
from flan_jax.tasks.hashing import counter_hash
from flan_jax.tasks.spec import Record

MESSAGES_KEPT = 5
"""Reasons of unreadable records that are kept."""


@dataclasses.dataclass(frozen=True)
class SplitAssignment:
    """Division of one task's records into training and validation, by the hash of what they ask.

    Attributes:
        max_hash: a record validates if its hash is this or less.
        train: number of records to train on.
        validation: number of records to validate on.
        types: the template types that were seen.
        numbers: the numbers of the task's records in the origin, where it is one of several there.
    """

    max_hash: int
    train: int
    validation: int
    types: tuple[str, ...] = ()
    numbers: Sequence[int] = ()


@dataclasses.dataclass(frozen=True)
class DatasetProfile:
    """Format and counts of an origin. Attributes: see ``flan_jax.data.instructions.report.FileReport``."""

    format: Format
    cleaning: Cleaning
    tasks: Mapping[str, SplitAssignment]
    sources: Mapping[str, str]
    records: int
    examples: int
    messages: int
    turns: int
    repeated: int
    filtered: Mapping[str, int]
    steps: Mapping[str, StepCount]
    unreadable: int
    reasons: tuple[str, ...]
    damaged: Sequence[int]
    not_read: Mapping[str, int] = dataclasses.field(default_factory=dict)


def format_of(origin: Origin, given: str | Format) -> Format:
    """Returns the format that was given, or detects it from the first records.

    Raises:
        UserError: an unknown name; no known format, named by the file.
    """
    if isinstance(given, Format):
        return given
    return _detected(origin, origin.state()) if given == AUTO else get_format(given)


@functools.lru_cache(maxsize=4096)
def _detected(origin: Origin, state: tuple[int, ...]) -> Format:
    if isinstance(origin, LocalFile) and origin.more:
        return _shared([LocalFile(path) for path in origin.paths])
    first = list(itertools.islice(origin.numbered(), SAMPLE))
    read = [record for _, record in first if not isinstance(record, UserError)]
    bad = next((f"{origin.place(number)}: {record}" for number, record in first if isinstance(record, UserError)), "")
    if bad and not read:
        raise UserError(bad)
    where = origin.place(first[0][0] if first else 0).rpartition(", ")[0]
    try:
        known = detect_format(read)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    if known.name == "flan_cot" and isinstance(origin, LocalFile) and (why := why_not_flan_cot(origin.path)):
        raise UserError(f"{where}: {why}.")
    return known


def _shared(files: Sequence[LocalFile]) -> Format:
    """Detects the one format of files that are read one behind the other; a file without records has any.

    Raises:
        UserError: they have two.
    """
    found = [(file, _detected(file, file.state())) for file in files if next(file.numbered(), None) is not None]
    first, known = found[0] if found else (files[0], _detected(files[0], files[0].state()))
    for file, other in found:
        if other is not known:
            raise UserError(
                f"{first.path} has records of the format {known.name}, and {file.path}, which is read behind it, of {other.name}. "
                "Give the files names that keep them apart, or convert one."
            )
    return known


def normalized_records(
    origin: Origin,
    known: Format,
    cleaner: Cleaner,
    on_filtered: LeftOut,
    *,
    seen: Counter[str] | None = None,
    unread: Counter[str] | None = None,
    only: Sequence[int] | None = None,
) -> Iterator[tuple[int, str, Record | UserError]]:
    """Yields (number, split key, normalized record or its error), in the origin's order.

    Args:
        origin: the records as published.
        known: their format.
        cleaner: cleans the records.
        on_filtered: called with the reason for each record that the format leaves out.
        seen: counts the records as published.
        unread: counts the keys of records that nothing reads.
        only: the numbers of the records to read; all by default.
    """

    def counted() -> Iterator[Numbered]:
        for number, record in origin.numbered(only):
            if seen is not None:
                seen["records"] += 1
            yield number, record

    for number, record in known.gather(counted(), on_filtered) if known.gather else counted():
        if isinstance(record, UserError):
            yield number, "", record
            continue
        key = ""
        if unread is not None:
            count_unread(record, known, unread)
        try:
            for made in read_record(known, record, on_filtered):
                if isinstance(made, UserError):
                    yield number, "", made
                    continue
                # What one record gives stays in one split, unless the record is a file.
                key = (not known.whole_file and key) or split_key(made, known)
                for cleaned in cleaner(made):
                    yield number, key, cleaned
        except UserError as error:
            yield number, "", error
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            yield number, "", UserError(f"not readable as {known.name} ({reason}). Correct or remove the record.")


def split_key(record: Record, known: Format) -> str:
    """Returns the text that decides on a record's split: records that ask the same are never in two splits."""
    if "messages" in record:
        return next((message["content"] for message in record["messages"] if message["role"] == "user"), "")
    if "inputs" in record:
        return record["inputs"]
    return record["instruction"] if known.together else f"{record['instruction']}\n{record['input']}"


def split_hash(seed: int, key: str) -> int:
    """Hashes a split key, 64 bits: the lowest hashes validate."""
    return counter_hash("instructions", seed, key.strip())


def profile_origin(
    origin: Origin, given: str | Format, cleaning: Cleaning | None, held: int, seed: int
) -> DatasetProfile:
    """Profiles ``origin`` in one pass, cached until it changes.

    Args:
        origin: the records as published.
        given: the format, its name, or ``auto``.
        cleaning: the steps; ``default_cleaning`` by default.
        held: at most so many records of a task validate, and a tenth at most; 0 for none.
        seed: which records those are.
    """
    return _profile_origin(origin, origin.state(), given, cleaning, held, seed)


@functools.lru_cache(maxsize=256)
def _profile_origin(
    origin: Origin, state: tuple[int, ...], given: str | Format, cleaning: Cleaning | None, held: int, seed: int
) -> DatasetProfile:
    known = format_of(origin, given)
    cleaning = default_cleaning(origin, known) if cleaning is None else cleaning
    cleaner, counts = cleaning.cleaner(), Counter[str]()
    filtered: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    tasks: dict[str, _SplitAssigner] = {}
    sources: dict[str, str] = {}
    reasons: list[str] = []
    damaged = array.array("Q")

    def leave_out(reason: str) -> None:
        filtered[reason] += 1

    for number, key, record in normalized_records(origin, known, cleaner, leave_out, seen=counts, unread=unread):
        if isinstance(record, UserError):
            damaged.append(number)
            if len(reasons) < MESSAGES_KEPT:
                reasons.append(f"{origin.place(number)}: {record}")
            continue
        counts["examples"] += 1
        task = task_of(record)
        sources.setdefault(task, str(record.get("task_source", "")))
        tasks.setdefault(task, _SplitAssigner(held)).add(split_hash(seed, key) if held else 0, number, record)
        messages = record.get("messages", ())
        counts["messages"] += len(messages)
        counts["turns"] += sum(message["role"] == "assistant" for message in messages)
        counts["repeated"] += repeated_turns(messages)
    assignments = {task: assigner.assign() for task, assigner in tasks.items()}
    return DatasetProfile(
        known,
        cleaning,
        assignments,
        sources,
        counts["records"],
        counts["examples"],
        counts["messages"],
        counts["turns"],
        counts["repeated"],
        dict(filtered),
        cleaner.counts,
        len(damaged),
        tuple(reasons),
        damaged,
        dict(unread),
    )


def task_of(record: Record) -> str:
    """Returns the name of the task that a rendered record gives; ``""`` for none."""
    return str(record.get("task_name", "")) if "inputs" in record else ""


class _SplitAssigner:
    """Keeps the lowest hashes of a task's records, with the records of each, to assign these to validation."""

    def __init__(self, held: int) -> None:
        self.held = held
        self.heap: list[int] = []  # negative, so that the highest is on top
        self.counts: dict[int, int] = {}
        self.total = self.distinct = 0
        self.types: dict[str, None] = {}
        self.numbers = array.array("Q")

    def add(self, value: int, number: int, record: Record) -> None:
        self.total += 1
        if task_of(record) and (not self.numbers or self.numbers[-1] != number):
            self.numbers.append(number)
        kind: Any = record.get("template_type")
        if isinstance(kind, str) and len(self.types) < MESSAGES_KEPT:
            self.types[kind] = None
        if not self.held:
            return
        if value in self.counts:
            self.counts[value] += 1
        elif len(self.heap) <= self.held:
            self.counts[value] = 1
            heapq.heappush(self.heap, -value)
        elif value < -self.heap[0]:  # one that was pushed out never comes back: it is above all that stay
            self.counts[value] = 1
            del self.counts[-heapq.heappushpop(self.heap, -value)]

    def assign(self) -> SplitAssignment:
        wanted = min(self.held, max(1, self.total // 10)) if len(self.counts) > 1 else 0
        max_hash, held = -1, 0
        for value in sorted(self.counts):
            if held + self.counts[value] > wanted:
                break
            max_hash, held = value, held + self.counts[value]
        return SplitAssignment(max_hash, self.total - held, held, tuple(self.types), self.numbers)
