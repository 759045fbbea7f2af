"""Solved examples before the question: chosen from the training split by (seed, task, example).

The query is never among them, nor a record that asks the same, case and white space aside, nor one of another task. FLAN 2021's
public code draws from the shuffled training split and so may show the very query.
"""

import dataclasses
import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from flan_jax.tasks.hashing import counter_hash, finish_hash, hash_prefix

MAX_POOL_SIZE = 4096
"""Training records kept to choose from at most: those with the smallest hashes, a fair sample."""
TRAIN_SPLIT = "train"

Slots = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Exemplars:
    """The training records that solved examples are chosen from.

    Attributes:
        indices: where each stands in the training split.
        slots: what ``fields`` made of each.
        keys: ``content_key`` of each.
        answers: names of the slots that answer, which ``keys`` leave out.
    """

    indices: tuple[int, ...]
    slots: tuple[Slots, ...]
    keys: tuple[int, ...]
    answers: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        task: str,
        seed: int,
        records: Iterable[tuple[int, Slots]],
        limit: int = MAX_POOL_SIZE,
        answers: frozenset[str] = frozenset(),
    ) -> "Exemplars":
        """Samples at most ``limit`` of a task's (index, slots): those with the smallest hash of (seed, task, index)."""
        begun = hash_prefix("pool", seed, task)
        kept = heapq.nsmallest(
            limit, ((finish_hash(begun, index), index, slots) for index, slots in records), _first_two
        )
        kept.sort(key=lambda item: item[1])
        return cls(
            tuple(index for _, index, _ in kept),
            tuple(slots for *_, slots in kept),
            tuple(content_key(slots, answers) for *_, slots in kept),
            answers,
        )

    def candidates(self, task: str, seed: int, split: str, index: int, slots: Slots) -> Iterator[int]:
        """Yields positions in the pool for the example at ``index`` of ``split``, in a drawn order.

        No content comes twice, and the query's never.

        Args:
            task: the spec's name.
            seed: of the run.
            split: the query's split.
            index: the query's place in it.
            slots: the query's.
        """
        count = len(self.indices)
        if not count:
            return
        drawn = counter_hash("exemplars", seed, task, split, index)
        # From a drawn place on by a drawn stride that is coprime to the count, every record comes once.
        place, stride = drawn % count, 1 + (drawn // count) % count
        while math.gcd(stride, count) > 1:
            stride += 1
        used = {content_key(slots, self.answers)}
        for _ in range(count):
            position, place = place, (place + stride) % count
            if self.keys[position] in used or (split == TRAIN_SPLIT and self.indices[position] == index):
                continue
            used.add(self.keys[position])
            yield position


def _first_two(item: tuple[int, int, Slots]) -> tuple[int, int]:
    return item[:2]


def content_key(slots: Slots, answers: frozenset[str] = frozenset()) -> int:
    """Hashes what a record asks, without case and white space; used wherever records are compared for leaks.

    Args:
        slots: of a record.
        answers: names of the slots that answer. They count only where nothing else is there.
    """
    read = {name: plain(value) for name, value in slots.items() if name not in answers}
    if not any(value for value in read.values()):
        read = plain(slots)
    return counter_hash(*(f"{name}={read[name]!r}" for name in sorted(read)))


def plain(value: Any) -> Any:
    """Lowercases the texts in a value and collapses their white space.

    >>> plain({"a": [" Who  is\\nit?", 3]})
    {'a': ['who is it?', 3]}
    """
    if isinstance(value, str):
        return " ".join(value.lower().split())
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def count_that_fit(
    solved: Sequence[tuple[str, str]], prompt: Callable[[Sequence[tuple[str, str]]], str], fits: Callable[[str], bool]
) -> int:
    """Counts how many of ``solved``, from the first on, make a prompt that still fits; by bisection.

    Args:
        solved: (input, target) of each example.
        prompt: solved examples → the whole prompt.
        fits: whether a prompt is within its budget. A longer prompt never fits where a shorter one does not.
    """
    low, high = 0, len(solved)
    if fits(prompt(solved)):
        return high
    while low < high:  # the greatest number that fits is in [low, high)
        middle = (low + high) // 2
        if fits(prompt(solved[:middle])):
            low = middle + 1
        else:
            high = middle
    return max(low - 1, 0)
