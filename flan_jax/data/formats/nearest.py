"""Finds the known format that is nearest to records of none, and says what they lack of it (``nearest_format``)."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.data.formats.record_format import Format
from flan_jax.tasks.spec import Record

_NEAR = 0.4  # a key or two in common, as `category`, say nothing
_SPELLED = 0.8  # of a key that is one of the format's but for its spelling
_OTHER_KIND = 0.4  # of a key that has a text where the format has objects
_OTHER_VALUES = (0.5, 0.8)  # of a format whose one key, or all of whose keys, are there with values of other kinds
_SHOWN = 8


def nearest_format(records: Sequence[Record], formats: Sequence[Format]) -> tuple[Format, str] | None:
    """Finds the format that most of the keys fit, and describes the difference; ``None`` where none is near.

    What a format needs counts most, then how much of the records it knows, within lists of objects too.
    """
    seen = list(dict.fromkeys(str(key) for record in records for key in record))

    def similarity(known: Format) -> tuple[float, float]:
        needs = sum(_key_score(key, known, records, seen) for key in known.keys) / len(known.keys)
        if needs == 1 and not _fits_alone(known, records):
            needs *= _OTHER_VALUES[len(known.keys) > 1]
        knows = {*known.keys, *known.reads, *known.neutral}
        explained = sum(key in knows for key in seen) / max(len(seen), 1)
        return needs, explained + _nested_share(known, records)

    best = max(formats, key=similarity)
    return (best, _difference(best, records, seen)) if similarity(best)[0] >= _NEAR else None


def _key_score(key: str, known: Format, records: Sequence[Record], seen: Sequence[str]) -> float:
    if key not in seen:
        return _SPELLED if _similar_key(key, seen) else 0.0
    values = [record[key] for record in records if key in record]
    objects = key in dict(known.nested) and not any(isinstance(value, list | tuple | Mapping) for value in values)
    return _OTHER_KIND if objects else 1.0


def _similar_key(key: str, seen: Sequence[str]) -> str:
    """Finds a misspelling of ``key``: other letters, capitals; ``""`` for none."""
    by_small = {name.lower().strip(): name for name in reversed(seen)}
    near = difflib.get_close_matches(key.lower(), list(by_small), n=1, cutoff=0.85)
    return by_small[near[0]] if near else ""


def _fits_alone(known: Format, records: Sequence[Record]) -> bool:
    """Tells whether a record would have the format if it had its keys alone."""
    return any(known.detect({key: record[key] for key in known.keys if key in record}) for record in records)


def _excluded_key(known: Format, records: Sequence[Record]) -> str:
    """Finds the key without which a record would have the format; ``""`` for none."""
    for record in records:
        for key in record:
            if key not in known.keys and known.detect({name: record[name] for name in record if name != key}):
                return str(key)
    return ""


def _nested_share(known: Format, records: Sequence[Record]) -> float:
    """Returns the share of the keys of nested objects that the format reads."""
    inner = [
        (key in keys)
        for name, keys in known.nested
        for record in records
        for item in _objects(record.get(name))
        for key in item
    ]
    return sum(inner) / len(inner) if inner else 0.0


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _difference(known: Format, records: Sequence[Record], seen: Sequence[str]) -> str:
    lacking = [key for key in known.keys if key not in seen]
    if not lacking and (kept_out := _excluded_key(known, records)):
        return f"has {kept_out!r} beside its keys, which it cannot have"
    if not lacking:
        kinds = {key: type(record[key]).__name__ for record in records for key in known.keys if key in record}
        shown = ", ".join(f"{key}: {kind}" for key, kind in kinds.items())
        for name in dict(known.nested).keys() & kinds.keys():
            inner = dict.fromkeys(str(key) for record in records for item in _objects(record.get(name)) for key in item)
            if inner:
                shown += f"; the objects in {name!r} have {', '.join(list(inner)[:_SHOWN])}"
        return f"has its keys with other kinds of values ({shown})"
    rest = [key for key in seen if key not in known.keys]
    written = [(key, _similar_key(key, rest)) for key in lacking]
    misspelled = [f"{key!r}, but has {other!r}" if other else repr(key) for key, other in written]
    return f"lacks {', '.join(misspelled)}"
