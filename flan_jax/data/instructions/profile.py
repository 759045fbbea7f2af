"""One pass over an origin: its format, its normalised records, what was left out, which of them validate."""

import array
import dataclasses
import functools
import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.data.file_readers.delimited import doubt
from flan_jax.data.formats.cleaning import Cleaner, Cleaning, StepCount
from flan_jax.data.formats.detect import AUTO, SAMPLE, detected, get_format
from flan_jax.data.formats.record_format import Format, LeftOut, Numbered
from flan_jax.data.formats.record_meanings import read_meant
from flan_jax.data.formats.unread_keys import count_unread
from flan_jax.data.instructions.default_cleaning import own_cleaning
from flan_jax.data.instructions.origin import LocalFile, Origin
from flan_jax.errors import UserError
from flan_jax.tasks.chat.conversation import repeated_turns
from flan_jax.tasks.hashing import counter_hash
from flan_jax.tasks.spec import Record

MESSAGES_KEPT = 5
"""How many reasons of unreadable records are kept."""


@dataclasses.dataclass(frozen=True)
class SplitAssignment:
    """How the records of one task are divided.

    Attributes:
        last: a record validates if its hash is this or less.
        train: records to train on.
        validation: records to validate on.
        types: the template types that were seen.
        numbers: of the task's records in the origin, where it is one of several there.
    """

    last: int
    train: int
    validation: int
    types: tuple[str, ...] = ()
    numbers: Sequence[int] = ()


@dataclasses.dataclass(frozen=True)
class DatasetProfile:
    """What a pass found. Attributes: see ``flan_jax.data.instructions.report.FileReport``."""

    format: Format
    cleaning: Cleaning
    tasks: Mapping[str, SplitAssignment]
    sources: Mapping[str, str]
    records: int
    examples: int
    messages: int
    turns: int
    repeated: int
    left_out: Mapping[str, int]
    steps: Mapping[str, StepCount]
    unreadable: int
    reasons: tuple[str, ...]
    damaged: Sequence[int]
    not_read: Mapping[str, int] = dataclasses.field(default_factory=dict)


def format_of(origin: Origin, given: str | Format) -> Format:
    """The format that was named, or that the first records have.

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
        known = detected(read)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    if known.name == "flan_cot" and isinstance(origin, LocalFile) and (why := doubt(origin.path)):
        raise UserError(f"{where}: {why}.")
    return known


def _shared(files: Sequence[LocalFile]) -> Format:
    """The format of files that are read one behind the other; one without records has any.

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
    left_out: LeftOut,
    *,
    seen: Counter[str] | None = None,
    unread: Counter[str] | None = None,
    only: Sequence[int] | None = None,
) -> Iterator[tuple[int, str, Record | UserError]]:
    """(number, what decides on its split, record or what is wrong with it), in the origin's order.

    Args:
        origin: what to read.
        known: its format.
        cleaner: cleans the records.
        left_out: told why something is left out.
        seen: counts the records as published.
        unread: counts the keys of records that nothing reads.
        only: the numbers of those to read; all unless they are given.
    """

    def counted() -> Iterator[Numbered]:
        for number, record in origin.numbered(only):
            if seen is not None:
                seen["records"] += 1
            yield number, record

    for number, record in known.gather(counted(), left_out) if known.gather else counted():
        if isinstance(record, UserError):
            yield number, "", record
            continue
        key = ""
        if unread is not None:
            count_unread(record, known, unread)
        try:
            for made in read_meant(known, record, left_out):
                if isinstance(made, UserError):
                    yield number, "", made
                    continue
                # What one record gives stays in one split, unless the record is a file.
                key = (not known.whole_file and key) or asked(made, known)
                for cleaned in cleaner(made):
                    yield number, key, cleaned
        except UserError as error:
            yield number, "", error
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            yield number, "", UserError(f"not readable as {known.name} ({reason}). Correct or remove the record.")


def asked(record: Record, known: Format) -> str:
    """What a record asks; records that ask the same are never in two splits."""
    if "messages" in record:
        return next((message["content"] for message in record["messages"] if message["role"] == "user"), "")
    if "inputs" in record:
        return record["inputs"]
    return record["instruction"] if known.together else f"{record['instruction']}\n{record['input']}"


def side_hash(seed: int, key: str) -> int:
    """Decides on the split of a record."""
    return counter_hash("instructions", seed, key.strip())


def survey(origin: Origin, given: str | Format, cleaning: Cleaning | None, held: int, seed: int) -> DatasetProfile:
    """Goes through ``origin`` once, and not again until it changes.

    Args:
        origin: what to read.
        given: the format, its name, or ``auto``.
        cleaning: the steps; ``own_cleaning`` where there are none given.
        held: at most so many records of a task validate, and a tenth at most; 0 for none.
        seed: which records those are.
    """
    return _survey(origin, origin.state(), given, cleaning, held, seed)


@functools.lru_cache(maxsize=256)
def _survey(
    origin: Origin, state: tuple[int, ...], given: str | Format, cleaning: Cleaning | None, held: int, seed: int
) -> DatasetProfile:
    known = format_of(origin, given)
    cleaning = own_cleaning(origin, known) if cleaning is None else cleaning
    cleaner, counts = cleaning.begin(), Counter[str]()
    left_out: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    tasks: dict[str, _Lowest] = {}
    sources: dict[str, str] = {}
    reasons: list[str] = []
    damaged = array.array("Q")

    def leave_out(reason: str) -> None:
        left_out[reason] += 1

    for number, key, record in normalized_records(origin, known, cleaner, leave_out, seen=counts, unread=unread):
        if isinstance(record, UserError):
            damaged.append(number)
            if len(reasons) < MESSAGES_KEPT:
                reasons.append(f"{origin.place(number)}: {record}")
            continue
        counts["examples"] += 1
        task = task_of(record)
        sources.setdefault(task, str(record.get("task_source", "")))
        tasks.setdefault(task, _Lowest(held)).add(side_hash(seed, key) if held else 0, number, record)
        messages = record.get("messages", ())
        counts["messages"] += len(messages)
        counts["turns"] += sum(message["role"] == "assistant" for message in messages)
        counts["repeated"] += repeated_turns(messages)
    divided = {task: lowest.divided() for task, lowest in tasks.items()}
    return DatasetProfile(
        known,
        cleaning,
        divided,
        sources,
        counts["records"],
        counts["examples"],
        counts["messages"],
        counts["turns"],
        counts["repeated"],
        dict(left_out),
        cleaner.counts,
        len(damaged),
        tuple(reasons),
        damaged,
        dict(unread),
    )


def task_of(record: Record) -> str:
    """The task that a rendered record says it is of; ``""`` for none."""
    return str(record.get("task_name", "")) if "inputs" in record else ""


class _Lowest:
    """The lowest hashes of a task's records, and how many records have each."""

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

    def divided(self) -> SplitAssignment:
        wanted = min(self.held, max(1, self.total // 10)) if len(self.counts) > 1 else 0
        last, held = -1, 0
        for value in sorted(self.counts):
            if held + self.counts[value] > wanted:
                break
            last, held = value, held + self.counts[value]
        return SplitAssignment(last, self.total - held, held, tuple(self.types), self.numbers)
