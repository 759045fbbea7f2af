"""Is anything that is held out also trained on? Compared by data set and by record, not only by name.

A name proves little: ``boolq`` stands in SuperGLUE, in P3, in Super-NaturalInstructions and in a
file on somebody's disk. So a held-out task is compared with every trained task twice: the data sets
that both are made from, and the texts of their records.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flan_jax.data.containment import Needles
from flan_jax.data.fingerprints import callable_digest
from flan_jax.data.published import origins
from flan_jax.data.sources import digest
from flan_jax.errors import UserError
from flan_jax.tasks.hashing import counter_hash
from flan_jax.tasks.reading import numbered_records
from flan_jax.tasks.spec import Prompted, Source, Task, TaskSpec

LONG_TEXT = 10
"""A text of so many words is no chance: it is compared by itself, whatever stands around it."""
SHOWN = 160


class _Held(NamedTuple):
    """A split that is held out."""

    task: str
    split: str


_Found = dict[tuple[_Held, str], dict[int, tuple[int, str]]]
"""(held-out task, trained task) → held-out record → training record and text where it was first seen."""


Progress = Callable[[str, int], None]
"""Told the name of a task and how many of its records were compared."""

_WORD = re.compile(r"\w+")


@dataclasses.dataclass(frozen=True)
class SharedSource:
    """A data set that a held-out task and a trained one are both made from.

    Attributes:
        held_out: name of the held-out task.
        trained: name of the trained task.
        origin: the data set.
    """

    held_out: str
    trained: str
    origin: str


@dataclasses.dataclass(frozen=True)
class SharedRecords:
    """Held-out records whose text is in a trained task.

    Attributes:
        held_out: name of the held-out task.
        trained: name of the trained task.
        records: how many records of the held-out split are there.
        of: how many the held-out split has.
        place: where the first one stands in the training data.
        text: its beginning.
    """

    held_out: str
    trained: str
    records: int
    of: int
    place: str
    text: str


@dataclasses.dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        sources: data sets on both sides.
        records: records on both sides, for each pair of tasks.
        held_out_records: records of held-out tasks that were compared.
        trained_records: records of trained tasks that were compared.
        not_compared: tasks whose records cannot be read as text.
        contained: held-out records whose longest text stands inside a longer one of a trained task. That is
            told and refuses nothing: a sentence that somebody asks about may well stand in a passage that
            somebody else asks something else about.
    """

    sources: tuple[SharedSource, ...]
    records: tuple[SharedRecords, ...]
    held_out_records: int
    trained_records: int
    not_compared: tuple[str, ...] = ()
    contained: tuple[SharedRecords, ...] = ()

    def refused(self, tolerance: float = 0.0) -> str:
        """Why a run on this must not be reported as held out: one sentence; ``""`` for no reason.

        Args:
            tolerance: the share of a held-out task's records that may be in the training data.
        """
        if self.sources:
            first = self.sources[0]
            more = f" ({len(self.sources) - 1} more pairs)" if len(self.sources) > 1 else ""
            return (
                f"the held-out task {first.held_out!r} and the trained task {first.trained!r} are both made from "
                f"{first.origin!r}{more}"
            )
        over = [found for found in self.records if found.records > tolerance * found.of]
        if over:
            worst = max(over, key=lambda found: found.records / found.of)
            return (
                f"{worst.records} of {worst.of} records of the held-out task {worst.held_out!r} are in the training data "
                f"of {worst.trained!r}, the first at {worst.place}: {worst.text!r}"
            )
        return ""


def audit(trained: Sequence[Task], held_out: Sequence[tuple[Task, str]], *, progress: Progress | None = None) -> Audit:
    """Compares what is held out with what is trained on.

    A held-out record is in the training data if all its texts together, or its longest text of ten
    words or more, are those of a training record, case, punctuation and white space aside. It is
    contained in the training data if that longest text is a part of a longer text. The answer, its
    options and its reasoning are not compared: they recur by nature. Only what a training record is
    to have written freely is compared too, as a task turned around asks for what another shows. Not
    found is what was put in other words, a text of which a part is missing, or a shorter text inside
    a longer one.

    Args:
        trained: the tasks trained on; of each its split ``train``.
        held_out: the tasks measured, each with its split.
        progress: told of every task.
    """
    specs: dict[str, Task] = {}
    not_compared: list[str] = []
    for task in trained:
        if _source(task) is None:
            not_compared.append(task.name)
        else:
            specs.setdefault(_key(task), task)
    wanted: dict[int, list[tuple[_Held, int]]] = {}
    longest: dict[str, list[tuple[_Held, int]]] = {}
    sizes: dict[_Held, int] = {}
    measured: dict[str, Task] = {}
    for task, split in held_out:
        if _source(task) is None:
            not_compared.append(task.name)
            continue
        held = _Held(_key(task), split)
        if held in sizes:
            continue
        measured[held.task] = task
        sizes[held] = 0
        for index, texts, _ in _texts(task, split):
            sizes[held] += 1
            for key in _held_out_keys(texts):
                wanted.setdefault(key, []).append((held, index))
            longest.setdefault(max(texts, key=len), []).append((held, index))
        if progress:
            progress(held.task, sizes[held])
    needles = Needles(longest, LONG_TEXT)
    found: _Found = {}
    inside: _Found = {}
    compared: Counter[str] = Counter()
    for name, task in specs.items():
        for index, needle in needles.search(_long_texts(name, task, wanted, found, compared)):
            _note(inside, name, index, needle, longest[needle])
        if progress:
            progress(name, compared[name])
    for tasks, pair in inside.items():
        for place in found.get(tasks, {}):
            pair.pop(place, None)

    def shared_records(pairs: _Found) -> tuple[SharedRecords, ...]:
        return tuple(
            SharedRecords(held.task, name, len(pair), sizes[held], _place(specs[name], index), text[:SHOWN])
            for (held, name), pair in pairs.items()
            for index, text in list(pair.values())[:1]
        )

    shared = [
        SharedSource(other, name, origin)
        for other, task in measured.items()
        for name, mine in specs.items()
        for origin in sorted(_origins(task) & _origins(mine))[:1]
    ]
    return Audit(
        tuple(shared),
        shared_records(found),
        sum(sizes.values()),
        compared.total(),
        tuple(dict.fromkeys(not_compared)),
        shared_records(inside),
    )


def _long_texts(
    name: str,
    task: Task,
    wanted: Mapping[int, Sequence[tuple[_Held, int]]],
    found: _Found,
    compared: Counter[str],
) -> Iterator[tuple[int, str]]:
    """(index, text) for the long texts of a trained task, each record first compared as a whole."""
    for index, texts, written in _texts(task, "train"):
        compared[name] += 1
        for key in _training_keys(texts, written):
            if key in wanted:
                _note(found, name, index, max((*texts, *written), key=len), wanted[key])
        for text in _outermost((*texts, *written)):
            yield index, text


def _note(pairs: _Found, name: str, index: int, text: str, held: Sequence[tuple[_Held, int]]) -> None:
    """Notes where held-out records were first seen in a trained task."""
    for task, place in held:
        pairs.setdefault((task, name), {}).setdefault(place, (index, text))


def _outermost(texts: Sequence[str]) -> Iterator[str]:
    """The texts that are not a part of another of the record."""
    kept: list[str] = []
    for text in sorted(set(texts), key=len, reverse=True):
        if not any(text in other for other in kept):
            kept.append(text)
            yield text


def audit_key(trained: Sequence[Task], held_out: Sequence[tuple[Task, str]]) -> str:
    """A digest of all that an audit reads, so that its result can be kept."""
    parts = {
        f"{_key(task)} {split} {side} {_read(task, split)}"
        for side, tasks in (("trained", ((task, "train") for task in trained)), ("held out", held_out))
        for task, split in tasks
    }
    return digest("audit 4", *sorted(parts))


def _read(task: Task, split: str) -> str:
    """A digest of what is compared of one task: its records, what its fields make of them, its data sets."""
    source = _source(task)
    if source is None:
        return ""
    fields = ""
    if isinstance(task, Prompted):
        spec = task.spec
        fields = digest(callable_digest(spec.fields), spec.answer, spec.options, spec.rationale, spec.renders_itself)
    return digest(source.fingerprint(split), fields, sorted(_origins(task)))


def _key(task: Task) -> str:
    """The spec's name: several prompts of one spec have the same records."""
    return task.spec.name if isinstance(task, Prompted) else task.name


def _source(task: Task) -> Source | None:
    return task.spec.source if isinstance(task, Prompted) else getattr(task, "source", None)


def _origins(task: Task) -> frozenset[str]:
    return origins(task.spec) if isinstance(task, Prompted) else frozenset()


def _place(task: Task, index: int) -> str:
    place = getattr(_source(task), "place", None)
    return place("train", index) if place else f"record {index}"


def _texts(task: Task, split: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """(index, normalised texts that are read, those that are written freely) of every record that can be read."""
    source = _source(task)
    assert source is not None
    for index, record in numbered_records(source, split, lambda error: None):
        given: Any = record
        asked: Any = ()
        if isinstance(task, Prompted):
            try:
                given, asked = _sides(task.spec, record)
            except (UserError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
                continue  # reported where it is prepared
        texts = _normalised(given)
        if texts:
            yield index, texts, _normalised(asked)


def _normalised(value: Any) -> list[str]:
    return [text for text in (" ".join(_WORD.findall(leaf.lower())) for leaf in _leaves(value)) if text]


def _sides(spec: TaskSpec, record: Mapping[str, Any]) -> tuple[Any, Any]:
    """What is read of a record, and what is written freely."""
    slots = spec.fields(record)
    if slots is None or spec.renders_itself:
        return slots, ()
    answers = {spec.answer, spec.rationale, "answer", spec.options if isinstance(spec.options, str) else ""}
    # A block of options as published templates show it says nothing of the record.
    read = {name: value for name, value in slots.items() if name not in answers and not name.startswith("options_")}
    return read, () if spec.options else slots[spec.answer]


def _leaves(value: Any) -> Iterator[str]:
    """Every string in a nested value, however deep."""
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            rest += [*item.values()][::-1]
        elif isinstance(item, list | tuple):
            rest += reversed(item)


def _held_out_keys(texts: Sequence[str]) -> set[int]:
    longest = max(texts, key=len)
    keys = {_whole(texts)}
    if longest.count(" ") + 1 >= LONG_TEXT:
        keys.add(counter_hash(longest))
    return keys


def _training_keys(texts: Sequence[str], written: Sequence[str]) -> set[int]:
    long = {counter_hash(text) for text in (*texts, *written) if text.count(" ") + 1 >= LONG_TEXT}
    return {_whole(texts), *long}


def _whole(texts: Sequence[str]) -> int:
    return counter_hash("whole", *sorted(set(texts)))
