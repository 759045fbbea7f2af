"""Records that a function makes."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

from flan_jax.data.sources.base import SPLITS, check_split, digest, known_splits
from flan_jax.data.sources.json_files import not_an_object
from flan_jax.errors import RecordError
from flan_jax.tasks.source import NumberedRecord, Record, Source


@dataclasses.dataclass(frozen=True)
class GeneratedSource(Source):
    """Records that a function makes. See ``generated``."""

    name: str
    make: Callable[[str], Sequence[Record]]
    version: str
    splits: tuple[str, ...] = SPLITS

    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Yields what ``make(split)`` returns; what is no mapping cannot be read."""
        check_split(self, split)
        for index, record in enumerate(self.make(split)):
            if isinstance(record, Mapping):
                yield index, record
            else:
                where = f"{self.describe()}, split {split!r}, record {index}"
                yield index, RecordError(f"{where}: {not_an_object(record)}")

    def fingerprint(self, split: str) -> str:
        """Digest of name, version, split and the parameters bound with ``functools.partial``."""
        check_split(self, split)
        bound: tuple[object, ...] = ()
        if isinstance(self.make, functools.partial):
            bound = (
                *map(repr, self.make.args),
                *(f"{key}={value!r}" for key, value in sorted(self.make.keywords.items())),
            )
        return digest("generated", self.name, self.version, split, *bound)

    def size_hint(self, split: str) -> int:
        """Nothing is read."""
        return 0

    def describe(self) -> str:
        """Name and version."""
        return f"generated {self.name!r} (version {self.version})"


def generated(
    name: str, make: Callable[[str], Sequence[Record]], version: str | int, *, splits: Sequence[str] = SPLITS
) -> GeneratedSource:
    """Makes a source of ``make(split)``, which must return the same records every time.

    Args:
        name: tells generators apart; part of the fingerprint.
        make: split name → records. Parameters are bound with ``functools.partial``, so that
            they become part of the fingerprint.
        version: raised by hand whenever ``make`` returns other records.
        splits: what ``make`` can be asked for.
    """
    return GeneratedSource(name, make, str(version), known_splits(f"generated {name!r}", splits))
