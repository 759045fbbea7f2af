"""What the fields of many tasks share: reading a column byte for byte, and regular expressions as TensorFlow has them."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.tasks.fields import column
from flan_jax.tasks.published_fields import PublishedFields
from flan_jax.tasks.style import OptionStyle

Record = Mapping[str, Any]
Made = dict[str, Any] | None
CHOICES = "choices"
"""The slot of a record's own options, under a name that no published template has."""
SPACES = " \t\n\v\f\r"
"""What ``tf.strings.strip`` takes away: ASCII's white space."""


def raw(record: Record, *names: str) -> str:
    """The text in the first of these columns, with its white space.

    Raises:
        UserError: the record has none of them, or what is there is no text.
    """
    value = column(record, *names)
    if not isinstance(value, str):
        raise UserError(f"{names[0]!r} must be a text, not {type(value).__name__} ({value!r:.60}).")
    return value


def raw_list(record: Record, *names: str) -> tuple[str, ...]:
    """The texts in the first of these columns, in order, with their white space.

    Raises:
        UserError: the record has none of them, or what is there is no list of texts, or an empty one.
    """
    value = column(record, *names)
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise UserError(f"{names[0]!r} must be a list of texts, not {value!r:.60}.")
    if not all(isinstance(item, str) for item in value):
        raise UserError(f"{names[0]!r} must hold texts alone, not {value!r:.60}.")
    return tuple(value)


def substituted(pattern: str, by: str, text: str) -> str:
    r"""``tf.strings.regex_replace``: every match of ``pattern``, whose classes are ASCII's, by the literal ``by``.

    >>> substituted(r"[^\w\s]", "", "à la carte, twice")
    ' la carte twice'
    """
    return re.sub(pattern, lambda match: by, text, flags=re.ASCII)


def views(
    fields: Callable[[Record], Made],
    slots: tuple[str, ...],
    *,
    flan2022: Callable[[Record], Made] | None = None,
    answer: str = "answer",
    options: tuple[str, ...] | str = (),
    scored: tuple[str, ...] = (),
) -> tuple[PublishedFields, ...]:
    """A task's slots in FLAN 2021's code and in FLAN 2022's.

    Args:
        fields: record → slots, in FLAN 2021's code.
        slots: what ``fields`` returns beside the options.
        flan2022: the same in FLAN 2022's, where that differs.
        answer: as for ``PublishedFields``. So are:
        options, scored: the same.
    """
    return tuple(
        PublishedFields(
            name,
            functools.partial(_with_block, made, options) if options else made,
            (*slots, *((CHOICES,) if options == CHOICES else ()), *(BLOCKS if options else ())),
            answer,
            options,
            scored,
        )
        for name, made in (("flan2021", fields), ("flan2022", flan2022 or fields))
    )


BLOCKS = ("options_", "options_str")
"""Slots of the whole block of options, which some templates show although they are for prompts without."""


def _with_block(fields: Callable[[Record], Made], options: tuple[str, ...] | str, record: Record) -> Made:
    """The slots, and the block of options in FLAN's one deterministic way."""
    made = fields(record)
    if made is None:
        return None
    listed = made[options] if isinstance(options, str) else options
    return {**made, **dict.fromkeys(BLOCKS, OptionStyle().block(listed))}


def chosen(choices: Sequence[str], place: str | None) -> Made:
    """A record's own options and the answer among them; ``None`` without a label.

    Args:
        choices: in the record's order.
        place: where the answer stands, counted from 0, as a decimal text.
    """
    return None if place is None else {CHOICES: tuple(choices), "answer": choices[int(place)]}


def optional(record: Record, *names: str) -> str | None:
    """As ``raw``; ``None`` where the record has none of the columns, so that templates that show it are not drawn."""
    if not any(record.get(name) is not None for name in names):
        return None
    return raw(record, *names)
