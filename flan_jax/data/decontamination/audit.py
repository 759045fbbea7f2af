"""Audits whether anything that is held out is also trained on, by data set and by record (``audit``).

A name proves little: ``boolq`` is in SuperGLUE, in P3, in Super-NaturalInstructions and in a file on somebody's disk.
So a measured task is compared with every trained task twice: the data sets that both are made from, and the texts of
their records.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from flan_jax.data.decontamination.ngram_search import NgramIndex
from flan_jax.data.decontamination.record_texts import (
    count_words,
    record_key,
    record_place,
    record_texts,
)
from flan_jax.data.decontamination.report import TOO_SHORT, Audit, SharedRecords, SharedSource
from flan_jax.data.prepare.fingerprints import callable_digest
from flan_jax.data.sources.base import digest
from flan_jax.data.sources.generated import GeneratedSource
from flan_jax.tasks.task import Task

LONG_TEXT = 10
"""A text of so many words is no chance, even where many records of a task share it: a passage, say."""
SHORT_TEXT = 5
"""A text of so many words of more than a letter is compared by itself where it tells a record of its task from the others."""
SHARED_BY = 2
"""A shorter text that more held-out records than these have as their longest tells none of them from the others."""
PHRASE = 6
"""So many words inside a longer text are reported; fewer are a turn of speech."""
SHOWN = 160
"""Characters of a shared text that are shown."""

Progress = Callable[[str, int], None]
"""Called with the name of a task and the number of its records that were compared."""


class _MeasuredSplit(NamedTuple):
    """A split of a task that is measured."""

    task: str
    split: str


_Record = tuple[_MeasuredSplit, int]
"""A measured record: its split and index."""
_Matches = dict[tuple[_MeasuredSplit, str], dict[int, tuple[int, str]]]
"""(measured split, trained task) → measured record → training record and text where it was first seen."""


@dataclasses.dataclass
class _Measured:
    """The texts of measured records, by which training records are searched.

    Attributes:
        held_out: text, or all texts of a record → held-out records that have it.
        held_in: the same for measured records of tasks that are trained on.
        longest: the longest texts of held-out records, which may be part of a longer text → these records.
        sizes: split → number of its records.
        tasks: the held-out tasks by key.
        too_short: held-out records of so few words that they are not searched.
    """

    held_out: dict[str | tuple[str, ...], list[_Record]] = dataclasses.field(default_factory=dict)
    held_in: dict[str | tuple[str, ...], list[_Record]] = dataclasses.field(default_factory=dict)
    longest: dict[str, list[_Record]] = dataclasses.field(default_factory=dict)
    sizes: dict[_MeasuredSplit, int] = dataclasses.field(default_factory=dict)
    tasks: dict[str, Task] = dataclasses.field(default_factory=dict)
    too_short: int = 0

    def add_held_out(self, own: _MeasuredSplit, task: Task) -> None:
        """Adds the texts of a held-out split."""
        self.tasks[own.task] = task
        self.sizes[own] = 0
        having: dict[str, list[int]] = {}
        for index, texts, _ in record_texts(task, own.split):
            self.sizes[own] += 1
            having.setdefault(max(texts, key=len), []).append(index)
            together = " ".join(texts)
            keys: list[str | tuple[str, ...]] = [record_key(texts)] if count_words(together) >= TOO_SHORT else []
            if len(texts) > 1 and count_words(together) >= SHORT_TEXT:
                keys.append(together)
            self.too_short += not keys
            for key in keys:
                self.held_out.setdefault(key, []).append((own, index))
        for text, indices in having.items():
            if text.count(" ") + 1 >= LONG_TEXT or (count_words(text) >= SHORT_TEXT and len(indices) <= SHARED_BY):
                self.held_out.setdefault(text, []).extend((own, index) for index in indices)
                self.longest.setdefault(text, []).extend((own, index) for index in indices)

    def add_held_in(self, own: _MeasuredSplit, task: Task) -> None:
        """Adds the texts of a measured split of a task that is trained on."""
        self.sizes[own] = 0
        for index, texts, _ in record_texts(task, own.split):
            self.sizes[own] += 1
            whole = record_key(texts)
            self.held_in.setdefault(whole, []).append((own, index))
            # A record of one text is asked again where another has it as its input, in whatever words around it.
            if len(whole) == 1 and count_words(whole[0]) >= SHORT_TEXT:
                self.held_in.setdefault(whole[0], []).append((own, index))


@dataclasses.dataclass
class _Found:
    """Measured records that were found in training data.

    Attributes:
        held_out: held-out records.
        held_in: measured records of tasks that are trained on.
        contained: held-out records inside longer texts.
        compared: trained task → number of its records.
    """

    held_out: _Matches = dataclasses.field(default_factory=dict)
    held_in: _Matches = dataclasses.field(default_factory=dict)
    contained: _Matches = dataclasses.field(default_factory=dict)
    compared: Counter[str] = dataclasses.field(default_factory=Counter)


def audit(
    trained: Sequence[Task],
    held_out: Sequence[tuple[Task, str]],
    *,
    held_in: Sequence[tuple[Task, str]] = (),
    progress: Progress | None = None,
) -> Audit:
    """Compares measured records with those that are trained on.

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
        progress: called after every task.
    """
    specs: dict[str, Task] = {}
    not_compared: list[str] = []
    for task in trained:
        if task.source is None:
            not_compared.append(task.name)
        else:
            specs.setdefault(task.spec_name, task)
    measured = _Measured()
    for add, pairs in ((measured.add_held_out, held_out), (measured.add_held_in, held_in)):
        for task, split in pairs:
            own = _MeasuredSplit(task.spec_name, split)
            if task.source is None:
                not_compared.append(task.name)
            elif own not in measured.sizes:
                add(own, task)
                if progress:
                    progress(own.task, measured.sizes[own])
    found = _search(specs, measured, progress)

    def shared_records(matches: _Matches) -> tuple[SharedRecords, ...]:
        return tuple(
            SharedRecords(
                own.task, name, len(pair), measured.sizes[own], record_place(specs[name], index), text[:SHOWN]
            )
            for (own, name), pair in matches.items()
            for index, text in list(pair.values())[:1]
        )

    shared = [
        SharedSource(other, name, origin)
        for other, task in measured.tasks.items()
        for name, mine in specs.items()
        for origin in sorted(task.origins & mine.origins)[:1]
    ]
    unseen = sum(size for own, size in measured.sizes.items() if own.task in measured.tasks)
    return Audit(
        tuple(shared),
        shared_records(found.held_out),
        unseen,
        found.compared.total(),
        tuple(dict.fromkeys(not_compared)),
        shared_records(found.contained),
        shared_records(found.held_in),
        sum(measured.sizes.values()) - unseen,
        measured.too_short,
        tuple(dict.fromkeys(task.spec_name for task, _ in held_in if isinstance(task.source, GeneratedSource))),
    )


def _search(specs: Mapping[str, Task], measured: _Measured, progress: Progress | None) -> _Found:
    """Searches the training records of all tasks for measured ones."""
    ngrams = NgramIndex(measured.longest, PHRASE)
    found = _Found()
    for name, task in specs.items():
        for index, text in ngrams.search(_compare_records(name, task, measured, found)):
            _add_matches(found.contained, name, index, text, measured.longest[text])
        if progress:
            progress(name, found.compared[name])
    for tasks, pair in found.contained.items():
        for place in found.held_out.get(tasks, {}):
            pair.pop(place, None)
    return found


def _compare_records(name: str, task: Task, measured: _Measured, found: _Found) -> Iterator[tuple[int, str]]:
    """Compares each training record as a whole and by its texts, and yields (index, text) of its maximal texts."""
    for index, texts, written in record_texts(task, "train"):
        found.compared[name] += 1
        whole = record_key(texts)
        together = (" ".join(texts),) if len(texts) > 1 else ()
        for wanted, matches, keys in (
            (measured.held_out, found.held_out, (whole, *texts, *written, *together)),
            (measured.held_in, found.held_in, (whole, *texts)),
        ):
            for key in keys:
                if key in wanted:
                    text = key if isinstance(key, str) else max((*texts, *written), key=len)
                    _add_matches(matches, name, index, text, wanted[key])
        for text in _maximal_texts((*texts, *written)):
            yield index, text


def _add_matches(matches: _Matches, name: str, index: int, text: str, records: Sequence[_Record]) -> None:
    """Adds where measured records were first seen in a trained task."""
    for own, place in records:
        matches.setdefault((own, name), {}).setdefault(place, (index, text))


def _maximal_texts(texts: Sequence[str]) -> Iterator[str]:
    """Yields the texts that are not part of another text of the record."""
    kept: list[str] = []
    for text in sorted(set(texts), key=len, reverse=True):
        if not any(text in other for other in kept):
            kept.append(text)
            yield text


def audit_key(
    trained: Sequence[Task], held_out: Sequence[tuple[Task, str]], held_in: Sequence[tuple[Task, str]] = ()
) -> str:
    """Digests everything that an audit reads, so that its result can be kept; hexadecimal."""
    parts = {
        f"{task.spec_name} {split} {side} {_digest_records(task, split)}"
        for side, tasks in (
            ("trained", ((task, "train") for task in trained)),
            ("held out", held_out),
            ("held in", held_in),
        )
        for task, split in tasks
    }
    return digest("audit 6", *sorted(parts))


def _digest_records(task: Task, split: str) -> str:
    """Digests what is compared of one task: its records, its fields, its data sets."""
    source = task.source
    if source is None:
        return ""
    fields = ""
    spec = task.spec
    if spec is not None:
        fields = digest(callable_digest(spec.fields), spec.answer, spec.options, spec.rationale, spec.renders_itself)
    return digest(source.fingerprint(split), fields, sorted(task.origins))
