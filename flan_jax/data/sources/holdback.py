"""Holds back a part of one split to validate on, where a data set is published without a validation split."""

import abc
from collections.abc import Iterator, Sequence

from flan_jax.tasks.source import NumberedRecord, Source


class HoldbackSplit(Source):
    """A source whose splits are parts of one split of another, so that no record is trained on and validated on.

    A subclass says what is divided (``divided``) and which positions of it each split has (``positions``).
    """

    @abc.abstractmethod
    def divided(self, split: str) -> tuple[Source, str]:
        """Returns the source that ``split`` is a part of, and which of its splits is divided."""

    @abc.abstractmethod
    def positions(self, split: str) -> Sequence[int]:
        """Returns the 0-based positions that ``split`` has of what is divided, ascending; no two splits share one."""

    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Yields the records at the positions of ``split``; one that cannot be read has its position like any other."""
        source, whole = self.divided(split)
        positions = iter(self.positions(split))
        wanted, index = next(positions, None), 0
        for position, record in source.read(whole):
            if wanted is None:
                return
            if position == wanted:
                yield index, record
                wanted, index = next(positions, None), index + 1

    def place(self, split: str, index: int) -> str:
        """Returns where record ``index`` stands in what is divided."""
        source, whole = self.divided(split)
        return source.place(whole, self.positions(split)[index])

    def size_hint(self, split: str) -> int | None:
        """About how many bytes are read: all that is divided."""
        source, whole = self.divided(split)
        return source.size_hint(whole)

    def describe(self) -> str:
        """Describes what is divided."""
        source, _ = self.divided(self.splits[0])
        return source.describe()
