"""The declaration of a published record format (``Format``), and the checks that all of them share.

A format turns a record as published into records of one of three kinds:

- chat: ``{"messages": [{"role": "user", "content": "…"}, …]}``
- instruction: ``{"instruction": "…", "input": "…", "output": "…"}``, the output a text or a list of accepted ones
- rendered: ``{"inputs": "…", "targets": "…"}``, a prompt and its answer

Text is text: nothing in it is ever taken for a template.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from flan_jax.errors import UserError
from flan_jax.tasks.spec import Record
from flan_jax.tasks.unicode_check import unsound

Kind = Literal["chat", "instruction", "rendered"]
LeftOut = Callable[[str], None]
"""Called with the reason why something in a record is left out: ``"deleted"``, say."""
Reader = Callable[[Record, LeftOut], Iterator[Record | UserError]]
"""The records in a record as published; an error in the place of one that is damaged while the others are not."""
Numbered = tuple[int, Record | UserError]
"""A record of a file with its number there, or what is wrong with it."""

IDENTIFIERS = (
    "id _id idx index uid uuid row_id example_id conversation_id conv_id thread_id message_id parent_id prompt_id "
    "message_tree_id __index_level_0__"
)
"""Keys that number records and mean nothing else, with spaces between."""

_DAMAGED = "Correct or remove the record."


@dataclasses.dataclass(frozen=True)
class Format:
    """One published record format.

    Attributes:
        name: what ``format=`` takes.
        about: what its records look like, one line for people.
        kind: of the records that it gives.
        keys: the keys that every record of it has.
        detect: whether a record has this format, judged by its keys and the types of their values.
        read: yields the normalized records in a record. It raises ``UserError`` for a record that is damaged.
        cleaning: the names of the steps that its records go through where nobody names others. They
            lose nothing that anybody meant: a shape does not tell which data set it is.
        refines: formats whose records these could be taken for; where both fit, this one is meant.
        whole_file: a file is one record, a task of its own.
        together: the records in one record share its instruction, and stand in one split.
        gather: puts rows together that make one record, where one is spread over several.
        parameters: parameters of ``read``, for fingerprints.
        reads: the keys that ``read`` looks at beside ``keys``. What is neither here nor in ``neutral`` is counted and reported,
            but for what ``flan_jax.tasks.known_keys`` honors in every format.
        neutral: keys that are not reported.
        nested: lists of objects, or objects, that ``read`` looks into, with the keys that it reads there. A key among
            these that is a name here too is looked into in its turn.
    """

    name: str
    about: str
    kind: Kind
    keys: tuple[str, ...]
    detect: Callable[[Record], bool]
    read: Reader
    cleaning: tuple[str, ...] = ("placeholders", "empty")
    refines: tuple[str, ...] = ()
    whole_file: bool = False
    together: bool = False
    gather: Callable[[Iterable[Numbered], LeftOut], Iterator[Numbered]] | None = None
    parameters: tuple[tuple[str, Any], ...] = ()
    reads: tuple[str, ...] = ()
    neutral: tuple[str, ...] = tuple(IDENTIFIERS.split())
    nested: tuple[tuple[str, tuple[str, ...]], ...] = ()


def texts_at(record: Any, *keys: str) -> bool:
    """Whether all of ``keys`` hold a text."""
    return isinstance(record, Mapping) and all(isinstance(record.get(key), str) for key in keys)


def list_at(record: Record, key: str, *inner: str) -> bool:
    """Whether ``key`` holds a list of objects, the first of which has the keys ``inner``."""
    value = record.get(key)
    if not isinstance(value, list | tuple) or not value:
        return False
    return not inner or (isinstance(value[0], Mapping) and all(name in value[0] for name in inner))


def text_of(record: Any, key: str, *, optional: bool = False) -> str:
    """The text at ``key``; ``""`` where it may be missing or null.

    Raises:
        UserError: it is missing, no text, or holds what no text holds.
    """
    if not isinstance(record, Mapping):
        raise UserError(f"must be an object with {key!r}, not {type(record).__name__}. {_DAMAGED}")
    value = record.get(key)
    if value is None or value != value:  # tables write a missing text as NaN
        if optional:
            return ""
        state = ("is null" if value is None else "is NaN") if key in record else "is missing"
        raise UserError(f"{key!r} {state}. {_DAMAGED}")
    return checked_text(value, key)


def checked_text(value: Any, name: str) -> str:
    """``value`` if it is a sound text.

    Raises:
        UserError: it is no text, or holds a NUL character or half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise UserError(f"{name!r} must be a text, not {type(value).__name__} ({value!r:.60}). {_DAMAGED}")
    if wrong := unsound(value):
        raise UserError(f"{name!r} {wrong}. {_DAMAGED}")
    return value


def texts_of(record: Record, key: str) -> str | list[str]:
    """The text at ``key``, or the list of texts.

    Raises:
        UserError: neither.
    """
    value = record.get(key)
    if isinstance(value, list | tuple):
        return [checked_text(item, f"{key}[{index}]") for index, item in enumerate(value)]
    return text_of(record, key)


def objects_of(record: Record, key: str) -> list[Mapping[str, Any]]:
    """The list of objects at ``key``.

    Raises:
        UserError: there is none, or something in it is no object.
    """
    value = record.get(key)
    if not isinstance(value, list | tuple):
        raise UserError(f"{key!r} must be a list, not {type(value).__name__}. {_DAMAGED}")
    for index, item in enumerate(value):
        if not isinstance(item, Mapping):
            raise UserError(f"{key}[{index}] must be an object, not {type(item).__name__}. {_DAMAGED}")
    return list(value)


def provenance(record: Record, *keys: str) -> dict[str, Any]:
    """Those of ``keys`` that say where a record comes from, where they hold a plain value."""
    return {
        key: record[key] for key in keys if isinstance(record.get(key), str | int | float | bool) and record[key] != ""
    }


def within(where: str, error: UserError) -> UserError:
    """The error, with the part of the record that it is in."""
    return UserError(f"{where}: {error}")
