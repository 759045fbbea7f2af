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

from flan_jax.data.decontamination.ngram_search import NgramIndex
from flan_jax.data.prepare.fingerprints import callable_digest
from flan_jax.data.sources.base import digest
from flan_jax.data.sources.generated import GeneratedSource
from flan_jax.data.sources.published import origins
from flan_jax.errors import UserError
from flan_jax.tasks.records import numbered_records
from flan_jax.tasks.spec import Prompted, Source, Task, TaskSpec

LONG_TEXT = 10
"""A text of so many words is no chance, even where many records of a task share it: a passage, say."""
SHORT_TEXT = 5
"""A text of so many words of more than a letter is compared by itself where it tells a record of its task from the others."""
TOO_SHORT = 3
"""A record of fewer words than these is like others by chance: ``yes``, ``2 + 3``."""
SHARED_BY = 2
"""A shorter text that more held-out records than these have as their longest tells none of them from the others."""
PHRASE = 6
"""So many words inside a longer text are told; fewer are a turn of speech."""
HELD_IN_TOLERANCE = 0.1
"""The share of a trained task's measured records that published data may repeat by chance, without a word from the user."""
SHOWN = 160


class _Held(NamedTuple):
    """A split that is held out."""

    task: str
    split: str


_Found = dict[tuple[_Held, str], dict[int, tuple[int, str]]]
"""(held-out task, trained task) → held-out record → training record and text where it was first seen."""


_Key = str | tuple[str, ...]
"""A text, or all texts of a record."""
_Wanted = dict[_Key, list[tuple[_Held, int]]]
"""What to look for → the held-out records that have it."""

Progress = Callable[[str, int], None]
"""Told the name of a task and how many of its records were compared."""

_WORD = re.compile(r"[^\W_]+")  # a gap that is written as underscores is no word
_SIGNS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_SIGN_OR_WORD = re.compile(rf"[{_SIGNS}]|[^\W_{_SIGNS}]+")  # Chinese and Japanese put no space between words


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
            told and refuses nothing unless it is asked for: a sentence that somebody asks about may well
            stand in a passage that somebody else asks something else about.
        held_in: measured records of tasks that are trained on, all of whose texts are those of a training record.
        held_in_records: records of such tasks that were compared.
        worlds: measured tasks whose records a function makes: a world of its own may have few questions, which
            every split asks. That is in ``held_in``, and neither refused nor told.
        too_short: held-out records of so few words that they are like others by chance, which were not looked for.
    """

    sources: tuple[SharedSource, ...]
    records: tuple[SharedRecords, ...]
    held_out_records: int
    trained_records: int
    not_compared: tuple[str, ...] = ()
    contained: tuple[SharedRecords, ...] = ()
    held_in: tuple[SharedRecords, ...] = ()
    held_in_records: int = 0
    too_short: int = 0
    worlds: tuple[str, ...] = ()

    @property
    def _published(self) -> list[SharedRecords]:
        """What is measured and trained on, made worlds aside."""
        return [found for found in self.held_in if found.held_out not in self.worlds]

    def refused(self, tolerance: float = 0.0, *, contained: bool = False) -> str:
        """Why a run on this must not be reported as measured on unseen records: one sentence; ``""`` for no reason.

        Args:
            tolerance: the share of a held-out task's records that may be in the training data. Of a task that is
                trained on, ``HELD_IN_TOLERANCE`` may be there in any case.
            contained: whether a held-out record inside a longer text is a reason too.
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
        allowed = max(tolerance, HELD_IN_TOLERANCE)
        over = [found for found in self._published if found.records > allowed * found.of]
        if over:
            worst = max(over, key=lambda found: found.records / found.of)
            return (
                f"{worst.records} of {worst.of} records that task {worst.held_out!r} is measured on are among those that "
                f"{worst.trained!r} is trained on (at most {allowed:.0%} may be), the first at {worst.place}: {worst.text!r}"
            )
        over = [found for found in self.contained if contained and found.records > tolerance * found.of]
        if over:
            worst = max(over, key=lambda found: found.records / found.of)
            return (
                f"{worst.records} of {worst.of} records of the held-out task {worst.held_out!r} stand inside longer texts of "
                f"the training data of {worst.trained!r}, the first at {worst.place}: {worst.text!r}"
            )
        return ""

    def told(self) -> list[str]:
        """What refuses nothing by itself and yet must be known beside a result, a sentence each."""
        lines = []
        for found, what in (
            (self.contained, "held-out records stand inside longer texts that are trained on"),
            (self._published, "measured records of tasks that are trained on are also training records"),
        ):
            if found:
                worst = max(found, key=lambda pair: pair.records / pair.of)
                lines.append(
                    f"{sum(pair.records for pair in found):,} {what}, in {len(found):,} pairs of tasks (the largest share: "
                    f"{worst.records:,} of {worst.of:,} of {worst.held_out!r} in {worst.trained!r})"
                )
        if self.too_short:
            lines.append(
                f"{self.too_short:,} held-out records have fewer than {TOO_SHORT} words, so that they are like others by chance: "
                "they were not looked for"
            )
        return lines


def audit(
    trained: Sequence[Task],
    held_out: Sequence[tuple[Task, str]],
    *,
    held_in: Sequence[tuple[Task, str]] = (),
    progress: Progress | None = None,
) -> Audit:
    """Compares what is measured with what is trained on.

    A held-out record is in the training data if all its texts together are those of a training record,
    or one text of it; or if its longest text is a text of a training record. That longest text has ten
    words or more, or at least five and tells the record from others of its task. Case, punctuation,
    gaps and white space aside. It is contained in the training data if a longest text of six words or
    more is a part of a longer text. The answer, its options and its reasoning are not compared: they
    recur by nature. Only what a training record is to have written freely is compared too, as a task
    turned around asks for what another shows. Not found is what was put in other words, a text of which
    a part is missing, or a text of fewer words inside a longer one.

    A measured record of a task that is trained on is there again only if all its texts are, or if it has
    one text of five words or more and a training record has it among its own: tasks of one data set share
    passages by nature.

    Args:
        trained: the tasks trained on; of each its split ``train``.
        held_out: the tasks measured and not trained on, each with its split.
        held_in: the tasks measured and trained on, each with its split.
        progress: told of every task.
    """
    specs: dict[str, Task] = {}
    not_compared: list[str] = []
    for task in trained:
        if _source(task) is None:
            not_compared.append(task.name)
        else:
            specs.setdefault(_key(task), task)
    wanted: _Wanted = {}
    again: _Wanted = {}
    longest: dict[str, list[tuple[_Held, int]]] = {}
    sizes: dict[_Held, int] = {}
    too_short = 0
    measured: dict[str, Task] = {}
    for out, (task, split) in (*((True, pair) for pair in held_out), *((False, pair) for pair in held_in)):
        if _source(task) is None:
            not_compared.append(task.name)
            continue
        held = _Held(_key(task), split)
        if held in sizes:
            continue
        if out:
            measured[held.task] = task
            sizes[held], short = _note_held_out(held, task, wanted, longest)
            too_short += short
        else:
            sizes[held] = 0
            for index, texts, _ in _texts(task, split):
                sizes[held] += 1
                whole = _whole(texts)
                again.setdefault(whole, []).append((held, index))
                # A record of one text is asked again where another has it as its input, in whatever words around it.
                if len(whole) == 1 and _words(whole[0]) >= SHORT_TEXT:
                    again.setdefault(whole[0], []).append((held, index))
        if progress:
            progress(held.task, sizes[held])
    needles = NgramIndex(longest, PHRASE)
    found: _Found = {}
    repeated: _Found = {}
    inside: _Found = {}
    compared: Counter[str] = Counter()
    for name, task in specs.items():
        for index, needle in needles.search(_long_texts(name, task, (wanted, found), (again, repeated), compared)):
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
    unseen = sum(size for held, size in sizes.items() if held.task in measured)
    return Audit(
        tuple(shared),
        shared_records(found),
        unseen,
        compared.total(),
        tuple(dict.fromkeys(not_compared)),
        shared_records(inside),
        shared_records(repeated),
        sum(sizes.values()) - unseen,
        too_short,
        tuple(dict.fromkeys(_key(task) for task, _ in held_in if isinstance(_source(task), GeneratedSource))),
    )


def _note_held_out(
    held: _Held, task: Task, wanted: _Wanted, longest: dict[str, list[tuple[_Held, int]]]
) -> tuple[int, int]:
    """Notes what to look for of a held-out split; the number of its records, and of those too short to look for."""
    size = too_short = 0
    having: dict[str, list[int]] = {}
    for index, texts, _ in _texts(task, held.split):
        size += 1
        having.setdefault(max(texts, key=len), []).append(index)
        together = " ".join(texts)
        keys: list[_Key] = [_whole(texts)] if _words(together) >= TOO_SHORT else []
        if len(texts) > 1 and _words(together) >= SHORT_TEXT:
            keys.append(together)
        too_short += not keys
        for key in keys:
            wanted.setdefault(key, []).append((held, index))
    for text, places in having.items():
        if text.count(" ") + 1 >= LONG_TEXT or (_words(text) >= SHORT_TEXT and len(places) <= SHARED_BY):
            wanted.setdefault(text, []).extend((held, index) for index in places)
            longest.setdefault(text, []).extend((held, index) for index in places)
    return size, too_short


def _long_texts(
    name: str,
    task: Task,
    out: tuple[_Wanted, _Found],
    again: tuple[_Wanted, _Found],
    compared: Counter[str],
) -> Iterator[tuple[int, str]]:
    """(index, text) for the texts of a trained task, each record first compared as a whole."""
    for index, texts, written in _texts(task, "train"):
        compared[name] += 1
        whole = _whole(texts)
        for wanted, found, keys in (
            (*out, (whole, *texts, *written, *((" ".join(texts),) if len(texts) > 1 else ()))),
            (*again, (whole, *texts)),
        ):
            for key in keys:
                if key in wanted:
                    _note(
                        found,
                        name,
                        index,
                        key if isinstance(key, str) else max((*texts, *written), key=len),
                        wanted[key],
                    )
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


def audit_key(
    trained: Sequence[Task], held_out: Sequence[tuple[Task, str]], held_in: Sequence[tuple[Task, str]] = ()
) -> str:
    """A digest of all that an audit reads, so that its result can be kept."""
    parts = {
        f"{_key(task)} {split} {side} {_read(task, split)}"
        for side, tasks in (
            ("trained", ((task, "train") for task in trained)),
            ("held out", held_out),
            ("held in", held_in),
        )
        for task, split in tasks
    }
    return digest("audit 6", *sorted(parts))


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
        texts = _normalized(given)
        if texts:
            yield index, texts, _normalized(asked)


def _normalized(value: Any) -> list[str]:
    found = []
    for leaf in _leaves(value):
        text = " ".join((_WORD if leaf.isascii() else _SIGN_OR_WORD).findall(leaf.lower()))
        if text:
            found.append(text)
    return found


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


def _words(text: str) -> int:
    """Words of more than a letter, and signs that are words by themselves."""
    return sum(len(word) > 1 or not word.isascii() for word in text.split(" "))


def _whole(texts: Sequence[str]) -> tuple[str, ...]:
    """The same for records of the same texts, in any order."""
    return tuple(sorted(set(texts)))
