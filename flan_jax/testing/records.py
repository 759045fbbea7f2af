"""Reading a source or a rendered split whole, errors apart, as tests of sources and tasks do."""

from collections.abc import Iterator
from typing import TypeVar

from flan_jax.errors import RecordError
from flan_jax.tasks.source import Record, Source

T = TypeVar("T")


def good_records(source: Source, split: str, errors: list[RecordError] | None = None) -> Iterator[Record]:
    """Yields the records that can be read; appends the others' errors to ``errors``."""
    return without_errors((record for _, record in source.read(split)), errors)


def without_errors(stream: Iterator[T | RecordError], errors: list[RecordError] | None = None) -> Iterator[T]:
    """Yields what is no error; appends what is one to ``errors``."""
    for made in stream:
        if not isinstance(made, RecordError):
            yield made
        elif errors is not None:
            errors.append(made)
