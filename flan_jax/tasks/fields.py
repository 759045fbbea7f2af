"""Reading a record: small functions that ``fields`` of many tasks share.

Published copies of one data set differ in the names of their columns and in how they write a
label. A task names the variants that it knows; what fits none of them is an error that says so.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.tasks.spec import Record
from flan_jax.tasks.unicode_check import block


def column(record: Record, *names: str) -> Any:
    """The value of the first of ``names`` that the record has and that is not null.

    Args:
        record: as its source yields it.
        *names: the column, then the other names that published copies give it. A name with dots
            reaches into nested objects: ``"answers.text"``.

    Raises:
        UserError: the record has none of them.
    """
    for name in names:
        value: Any = record
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    have = ", ".join(sorted(map(str, record))) or "none"
    raise UserError(f"the record has no {' or '.join(map(repr, names))} (its fields: {have:.300}).")


def text(record: Record, *names: str) -> str:
    """The text in the first of ``names`` that the record has, without blank lines before it and white space behind it.

    Raises:
        UserError: no such column, or what is there is no text or blank.
    """
    value = column(record, *names)
    if not isinstance(value, str):
        raise UserError(f"{names[0]!r} must be a text, not {type(value).__name__} ({value!r:.60}).")
    if not value.strip():
        raise UserError(f"{names[0]!r} is empty.")
    return block(value)


def texts(record: Record, *names: str) -> tuple[str, ...]:
    """The texts in a column that holds a list of them, or one text; blank ones left out.

    Raises:
        UserError: no such column, or something in it is no text, or nothing is left.
    """
    value = column(record, *names)
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, Sequence) or not all(isinstance(item, str) for item in given):
        raise UserError(f"{names[0]!r} must be a list of texts, not {value!r:.60}.")
    found = tuple(block(item) for item in given if item.strip())
    if not found:
        raise UserError(f"{names[0]!r} holds no text.")
    return found


def label(value: Any, names: Sequence[str]) -> str | None:
    """A label's name: ``names[value]`` for a number, a digit string or a truth value, or the name itself.

    Args:
        value: an index from 0, its decimal text, ``True`` or ``False`` where there are two names,
            or one of ``names``.
        names: what the labels are called, in the order of their numbers.

    Returns:
        The name; ``None`` for -1, which is how published data sets mark what has no label.

    Raises:
        UserError: anything else.

    >>> label(1, ("no", "yes")), label("0", ("no", "yes")), label(True, ("no", "yes")), label(-1, ("no", "yes"))
    ('yes', 'no', 'yes', None)
    """
    if isinstance(value, str) and value in names:
        return value
    index: Any = value
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+\s*", value):
        index = int(value)
    elif isinstance(value, str) and value.strip().lower() in ("true", "false") and len(names) == 2:
        index = value.strip().lower() == "true"
    if isinstance(index, float) and index.is_integer():
        index = int(index)
    if isinstance(index, int) and not (isinstance(index, bool) and len(names) != 2):
        if index == -1:
            return None
        if 0 <= index < len(names):
            return names[index]
    raise UserError(f"the label {value!r:.60} is none of {', '.join(names)}, nor a number from 0 to {len(names) - 1}.")
