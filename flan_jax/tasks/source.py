"""Sources of records: one stream, in which a record that cannot be read keeps its place.

A source is a handle: building one reads nothing. To write one, subclass ``Source`` and give it ``read`` and
``fingerprint``; everything else has a default (docs/guide/add_a_source.md).
"""

import abc
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flan_jax.errors import RecordError, UserError

Record = Mapping[str, Any]
NumberedRecord = tuple[int, Record | RecordError]
"""(0-based index of a record within its split, the record or why it cannot be read)."""


class Source(abc.ABC):
    """The records of a task, by split."""

    if TYPE_CHECKING:

        @property
        def splits(self) -> tuple[str, ...]:
            """The splits that can be read, among ``train``, ``validation``, ``test``."""
    else:  # no property, so that a dataclass may have it as a field
        splits = ("train",)

    @abc.abstractmethod
    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Yields ``(index, record)`` for every record of ``split``, in a fixed order; indices count from 0 by 1.

        A record that cannot be read is a ``RecordError`` at its index, which names its place.

        Raises:
            UserError: there is nothing to read: no such split, file or data set.
        """

    @abc.abstractmethod
    def fingerprint(self, split: str) -> str:
        """Hexadecimal digest that changes when the records of ``split`` may have changed."""

    def records(self, split: str) -> Iterator[Record]:
        """Yields the records of ``split`` alone.

        Raises:
            UserError: as ``read``; ``RecordError`` at the first record that cannot be read.
        """
        for _, record in self.read(split):
            if isinstance(record, RecordError):
                raise record
            yield record

    def describe(self) -> str:
        """One line for people."""
        return type(self).__name__

    def place(self, split: str, index: int) -> str:
        """Returns where record ``index`` stands, such as a file and a line; ``""`` where nothing else is known."""
        return ""

    def count(self, split: str) -> int | None:
        """The number of records of ``split``, unreadable ones among them; ``None`` where only reading would tell."""
        return None

    def is_empty(self, split: str) -> bool:
        """Tells whether ``split`` is known to have no records."""
        return self.count(split) == 0

    def size_hint(self, split: str) -> int | None:
        """About how many bytes are read for ``split``; ``None`` where that is not known."""
        return None

    def origins(self) -> frozenset[str]:
        """The data sets that the records are made from, by names without case and punctuation."""
        return frozenset()

    @property
    def is_published(self) -> bool:
        """True where it is a published data set, for which a local copy may stand in."""
        return False

    def local(self) -> Path | None:
        """The local copy of a published data set that is read; ``None`` where there is none."""
        return None

    def local_names(self) -> tuple[str, ...]:
        """Names that a folder of local copies may call this data set's folder by, the preferred one first."""
        return ()

    @property
    def is_elsewhere(self) -> bool:
        """True where it is a published data set without a local copy, so that reading it takes a network."""
        return self.is_published and self.local() is None

    def published_count(self, split: str) -> int | None:
        """The number of records of ``split`` as published; ``None`` where nobody says, or it is not published."""
        return self.count(split) if self.is_published and split in self.splits else None

    def notes(self, split: str) -> Mapping[str, Any]:
        """Returns what became of the file of ``split`` before any task saw its records, as JSON values of manifests."""
        return {}

    def merged(self, split: str) -> int:
        """Counts the messages that became one with a message of the same speaker when ``split`` was last read whole."""
        return 0


_REQUIRED = ("records", "splits", "fingerprint", "describe")


@dataclasses.dataclass(frozen=True)
class PlainSource(Source):
    """A class that is no ``Source``, with ``records(split)``, ``splits``, ``fingerprint(split)`` and ``describe()``.

    ``records`` yields mappings; a ``RecordError`` among them is a record that cannot be read. Where the class has
    further methods of ``Source``, they are its answers.

    Attributes:
        source: an object of that class.
    """

    source: Any

    @property
    def splits(self) -> tuple[str, ...]:
        """Those of the object."""
        return tuple(self.source.splits)

    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Numbers what ``records`` yields."""
        return enumerate(self.source.records(split))

    def fingerprint(self, split: str) -> str:
        """The object's own."""
        return self.source.fingerprint(split)

    def describe(self) -> str:
        """The object's own."""
        return self.source.describe()

    def _own(self, method: str) -> Any:
        """The object's method of that name, or the default."""
        return getattr(self.source, method, None) or getattr(super(), method)

    def place(self, split: str, index: int) -> str:
        """The object's own, where it has one."""
        return self._own("place")(split, index)

    def count(self, split: str) -> int | None:
        """The object's own, where it has one."""
        return self._own("count")(split)

    def size_hint(self, split: str) -> int | None:
        """The object's own, where it has one."""
        return self._own("size_hint")(split)

    def origins(self) -> frozenset[str]:
        """The object's own, where it has some."""
        return frozenset(self._own("origins")())

    @property
    def is_published(self) -> bool:
        """True where the object says where a local copy would be."""
        return hasattr(self.source, "local")

    def local(self) -> Path | None:
        """The object's own, where it has one."""
        return self._own("local")()

    def local_names(self) -> tuple[str, ...]:
        """The object's own, where it has some."""
        return self._own("local_names")()

    def notes(self, split: str) -> Mapping[str, Any]:
        """The object's own, where it has some."""
        return self._own("notes")(split)

    def merged(self, split: str) -> int:
        """The object's own, where it has some."""
        return self._own("merged")(split)


def as_source(source: Any, where: str) -> Source:
    """Returns ``source``, as a ``Source`` where its class is not one.

    Args:
        source: what a task was given.
        where: begins the error: the task.

    Raises:
        UserError: it has none of the methods of a source.
    """
    if isinstance(source, Source):
        return source
    if all(hasattr(source, name) for name in _REQUIRED):
        return PlainSource(source)
    raise UserError(
        f"{where}: source is {type(source).__name__}, which has no records(), splits, fingerprint() "
        "and describe(). Use one of flan_jax.data.sources, or subclass flan_jax.tasks.source.Source."
    )
