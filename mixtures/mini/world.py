"""How the small world makes its records: seeded draws, and splits that share nothing.

Everything in this world is written in lower case, as its vocabulary reads it: what a page
shows is what the model saw.
"""

import dataclasses
import functools
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flan_jax.data.sources.generated import GeneratedSource, generated
from flan_jax.tasks.hashing import counter_hash
from flan_jax.tasks.spec import Record, Template

T = TypeVar("T")

TRAIN, VALIDATION, TEST = 3500, 200, 200
"""Records a split where the space is large enough."""

# Buckets of the content hash: eight of ten train, one validates, one tests.
_BUCKETS = ("train",) * 8 + ("validation", "test")
# A space is called exhausted after this many draws in a row that brought nothing new.
_PATIENCE = 2000


class Draw:
    """Random choices from a seed.

    Built on ``random.random`` alone, the one method whose sequence Python promises to keep
    from version to version.
    """

    def __init__(self, *seed: object) -> None:
        self._random = random.Random(counter_hash(*seed)).random

    def below(self, count: int) -> int:
        """An integer from 0 to ``count - 1``."""
        return int(self._random() * count)

    def number(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""
        return low + self.below(high - low + 1)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self._random() < probability

    def one(self, items: Sequence[T]) -> T:
        """One of ``items``."""
        return items[self.below(len(items))]

    def some(self, items: Sequence[T], count: int) -> list[T]:
        """``count`` different ones of ``items``, in random order."""
        left = list(items)
        if count > len(left):
            raise ValueError(f"cannot draw {count} of {len(left)} items")
        return [left.pop(self.below(len(left))) for _ in range(count)]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All of ``items`` in random order."""
        return self.some(items, len(items))


def content_key(record: Record) -> str:
    """What makes two records the same one; the order of the answer choices does not count."""
    parts = []
    for slot, value in sorted(record.items()):
        parts.append(f"{slot}={sorted(value) if slot == 'choices' else value}")
    return "\x1f".join(parts)


@dataclasses.dataclass(frozen=True)
class Maker:
    """``make(split)`` over a function that draws one record.

    The split of a record is a function of its content, so no record is in two splits, and a
    record that is drawn twice is kept once.

    Attributes:
        name: seeds the draws.
        draw_one: one record from a ``Draw``; a record is a dictionary of slots.
        key: what makes two records the same one.
        group: what goes to one split together; a function of the key's content.
        sizes: the most records of train, validation and test.
    """

    name: str
    draw_one: Callable[[Draw], dict[str, Any]]
    key: Callable[[Record], str] = content_key
    group: Callable[[Record], str] | None = None
    sizes: tuple[int, int, int] = (TRAIN, VALIDATION, TEST)

    def __call__(self, split: str) -> Sequence[Record]:
        """The records of ``split``."""
        return _all_splits(self)[split]


@functools.cache
def _all_splits(maker: Maker) -> dict[str, list[Record]]:
    draw = Draw("mini", maker.name)
    splits: dict[str, list[Record]] = {"train": [], "validation": [], "test": []}
    room = dict(zip(splits, maker.sizes, strict=True))
    seen: set[str] = set()
    idle = 0
    while any(room.values()) and idle < _PATIENCE:
        record = maker.draw_one(draw)
        key = maker.key(record)
        group = maker.group(record) if maker.group else key
        split = _BUCKETS[counter_hash("split", maker.name, group) % len(_BUCKETS)]
        idle += 1
        if key in seen or not room[split]:
            continue
        idle = 0
        seen.add(key)
        splits[split].append(record)
        room[split] -= 1
    return splits


def source(
    name: str,
    draw_one: Callable[[Draw], dict[str, Any]],
    version: int,
    *,
    key: Callable[[Record], str] = content_key,
    group: Callable[[Record], str] | None = None,
    sizes: tuple[int, int, int] = (TRAIN, VALIDATION, TEST),
) -> GeneratedSource:
    """A lazy source of drawn records; ``version`` is raised whenever the records change."""
    return generated(f"mini/{name}", Maker(name, draw_one, key, group, sizes), version)


def as_slots(record: Record) -> Record:
    """Records of this world are slots already."""
    return record


def templates(*given: str | Template) -> tuple[Template, ...]:
    """Templates from their input texts, the target being the answer."""
    return tuple(Template(text) if isinstance(text, str) else text for text in given)


def with_article(noun: str) -> str:
    """The noun with "a" or "an".

    >>> with_article("apple")
    'an apple'
    """
    return ("an " if noun[0] in "aeiou" else "a ") + noun
