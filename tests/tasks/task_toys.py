"""A source in memory and tasks over it, for the tests of this folder."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from flan_jax.errors import RecordError
from flan_jax.tasks.hashing import counter_hash
from flan_jax.tasks.source import NumberedRecord, Source
from flan_jax.tasks.spec import TaskSpec, Template


@dataclasses.dataclass(frozen=True)
class Listed(Source):
    """Records in lists; one that is a text cannot be read, and says why."""

    train: tuple[Any, ...] = ()
    test: tuple[Any, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(split for split in ("train", "test") if getattr(self, split))

    def read(self, split) -> Iterator[NumberedRecord]:
        for index, record in enumerate(getattr(self, split)):
            yield index, RecordError(record) if isinstance(record, str) else record

    def fingerprint(self, split) -> str:
        return str(counter_hash(getattr(self, split)))

    def describe(self) -> str:
        return "a list"


def quiz(count=40, *, word="w", test=12) -> Listed:
    """Questions with an answer, and a reason for it."""

    def record(number, word):
        return {"id": number, "question": f"{word}{number}?", "answer": ("yes", "no")[number % 2], "why": f"r{number}"}

    return Listed(tuple(record(i, word) for i in range(count)), tuple(record(i, f"{word}t") for i in range(test)))


def make(name="quiz", source=None, **changes) -> TaskSpec:
    values = {
        "name": name,
        "cluster": "toy",
        "source": quiz() if source is None else source,
        "fields": dict,
        "slots": ("question", "answer", "why"),
        "options": ("yes", "no"),
        "templates": (
            Template("Say: {question}"),
            Template("{question}\n\n{options}\n\nSo?"),
            Template("{options}\n{question}"),
            Template("Ask what is {answer}.", "{question}", inverted=True),
        ),
        "rationale": "why",
        "cot_templates": (Template("Think: {question}", "{why} So {answer}"), Template("{question} Why?", "{why}: {answer}")),
    }  # fmt: skip
    return TaskSpec(**{**values, **changes})
