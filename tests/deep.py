"""What `make test-deep` tries beside `make test`: more examples of a property, and further cases of what a few cases show."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import settings

DEEP = os.environ.get("FLAN_JAX_DEEP") == "1"


def examples(few: int, *, deep: int) -> Callable[[Any], Any]:
    """Decorates a property whose examples take long."""
    return settings(max_examples=deep if DEEP else few)


def with_deep(few: Iterable[Any], deep: Iterable[Any]) -> list[Any]:
    """The cases of a test: those of `make test`, which show all that it is about, and those that `make test-deep` adds.

    A case of several arguments is a tuple.
    """
    more = (case if isinstance(case, tuple) else (case,) for case in deep)
    return [*few, *(pytest.param(*case, marks=pytest.mark.deep) for case in more)]


def every_second(*values: Iterable[Any]) -> list[Any]:
    """Every value of each of two lists, in half of their pairs, and the other half under `make test-deep`."""
    first, second = map(list, values)
    pairs = [
        (one, other, (place + number) % 2) for place, one in enumerate(first) for number, other in enumerate(second)
    ]
    return with_deep([pair[:2] for pair in pairs if not pair[2]], [pair[:2] for pair in pairs if pair[2]])
