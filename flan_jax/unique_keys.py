"""JSON whose objects name every key once. Where one is named twice, a reader keeps the last value and loses the others silently.

RFC 8259, section 4, leaves to each reader what becomes of such an object. Standard library only; every layer may
import it.
"""

import json
from typing import Any


class RepeatedKeyError(ValueError):
    """An object names a key twice; ``str`` says which, as a part of a sentence."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r:.80} stands twice in one object, so one of its values would be lost")


class _Repeated(dict[str, Any]):
    """An object that names ``key`` twice, until it is known what it is a part of."""

    key: str


def decode(text: str) -> Any:
    """The value that a JSON text is.

    Raises:
        RepeatedKeyError: an object in it names a key twice.
        ValueError: no JSON (``json.JSONDecodeError``), or a number of too many digits.
        RecursionError: nested too deeply.
    """
    return _decode(text)


def decode_records(text: str) -> Any:
    """The same, of a list of records, or of an object whose lists hold records: a ``RepeatedKeyError`` stands in the place of such a one.

    Raises:
        RepeatedKeyError: an object that is no part of such a record names a key twice.
        ValueError: as ``decode``.
        RecursionError: as ``decode``.
    """
    found: list[_Repeated] = []

    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            made = _Repeated(made)
            made.key = _twice(pairs)
            found.append(made)
        return made

    value = json.JSONDecoder(object_pairs_hook=hook).decode(text)
    if not found:
        return value
    if isinstance(value, list):
        return _told(value)
    if isinstance(value, dict) and not isinstance(value, _Repeated):
        value = {key: _told(part) if isinstance(part, list) else part for key, part in value.items()}
    if first := _first(value):
        raise RepeatedKeyError(first.key)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise RepeatedKeyError(_twice(pairs))
    return made


_decode = json.JSONDecoder(object_pairs_hook=_once).decode


def _twice(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    return next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]


def _told(elements: list[Any]) -> list[Any]:
    firsts = (_first(element) for element in elements)
    return [RepeatedKeyError(first.key) if first else element for element, first in zip(elements, firsts, strict=True)]


def _first(value: Any) -> _Repeated | None:
    """An object with a repeated key anywhere in a value. Without recursion: texts nest as deeply as they like."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, _Repeated):
            return part
        left.extend(part.values() if isinstance(part, dict) else part if isinstance(part, list) else ())
    return None
