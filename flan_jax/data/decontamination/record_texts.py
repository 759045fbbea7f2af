"""The texts of a task's records, normalized so that they can be compared (``record_texts``)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.errors import RecordError, UserError
from flan_jax.tasks.spec import TaskSpec
from flan_jax.tasks.task import Task

_WORD = re.compile(r"[^\W_]+")  # a gap that is written as underscores is no word
_SIGNS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_SIGN_OR_WORD = re.compile(rf"[{_SIGNS}]|[^\W_{_SIGNS}]+")  # Chinese and Japanese put no space between words


def record_place(task: Task, index: int) -> str:
    """Names where a training record is: file and line, or its index."""
    return (task.source.place("train", index) if task.source is not None else "") or f"record {index}"


def record_texts(task: Task, split: str) -> Iterator[tuple[int, list[str], list[str]]]:
    """Yields (index, texts of the input, texts written freely) of every record that can be read, normalized."""
    for index, given, written in _records(task, split):
        texts = normalize(given)
        if texts:
            yield index, texts, normalize(written)


def raw_record_texts(task: Task, split: str) -> Iterator[tuple[int, list[str]]]:
    """Yields (index, texts of the input as they are) of every record that can be read."""
    for index, given, _ in _records(task, split):
        yield index, [leaf for leaf in _leaves(given) if leaf.strip()]


def _records(task: Task, split: str) -> Iterator[tuple[int, Any, Any]]:
    """Yields (index, what is read, what is written freely) of every record that can be read."""
    assert task.source is not None
    for index, record in task.source.read(split):
        if isinstance(record, RecordError):
            continue
        given: Any = record
        written: Any = ()
        if task.spec is not None:
            try:
                given, written = _sides(task.spec, record)
            except (UserError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
                continue  # reported where it is prepared
        yield index, given, written


def normalize(value: Any) -> list[str]:
    """Returns the texts in a nested value: lower case, words and signs with single spaces between, none empty."""
    found = []
    for leaf in _leaves(value):
        text = " ".join((_WORD if leaf.isascii() else _SIGN_OR_WORD).findall(leaf.lower()))
        if text:
            found.append(text)
    return found


def _sides(spec: TaskSpec, record: Mapping[str, Any]) -> tuple[Any, Any]:
    """Divides a record's slots into what is read and what is written freely."""
    slots = spec.fields(record)
    if slots is None or spec.renders_itself:
        return slots, ()
    answers = {spec.answer, spec.rationale, "answer", spec.options if isinstance(spec.options, str) else ""}
    # A block of options as published templates show it says nothing of the record.
    read = {name: value for name, value in slots.items() if name not in answers and not name.startswith("options_")}
    return read, () if spec.options else slots[spec.answer]


def _leaves(value: Any) -> Iterator[str]:
    """Yields every string in a nested value, at any depth."""
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            rest += [*item.values()][::-1]
        elif isinstance(item, list | tuple):
            rest += reversed(item)


def count_words(text: str) -> int:
    """Counts words of more than a letter, and signs that are words by themselves."""
    return sum(len(word) > 1 or not word.isascii() for word in text.split(" "))


def record_key(texts: Sequence[str]) -> tuple[str, ...]:
    """Returns a key that records of the same texts share, in any order."""
    return tuple(sorted(set(texts)))
