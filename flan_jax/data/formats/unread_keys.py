"""Counts the keys of records that nothing reads, since what they mean is not trained on (``count_unread``)."""

import functools
from collections import Counter
from collections.abc import Mapping
from typing import Any

from flan_jax.data.formats.record_format import Format
from flan_jax.data.formats.speakers import role_or_none
from flan_jax.errors import UserError
from flan_jax.tasks.chat import turns
from flan_jax.tasks.chat.conversation import TOOL
from flan_jax.tasks.known_keys import (
    BAD,
    GOOD,
    HISTORY,
    LABEL,
    MEDIA,
    PAIR,
    SYSTEM,
    TRAIN,
    VERDICTS,
    WEIGHTS,
    empty,
    verdict,
    yes_or_no,
)
from flan_jax.tasks.spec import Record

MAX_KEYS = 1000
"""Different keys that are counted by name; records whose keys are data have more."""
OTHERS = "other keys"

_READ = frozenset((*SYSTEM, *HISTORY, *MEDIA, *PAIR, *turns.TOOLS))
_SAID = frozenset((LABEL, *GOOD, *BAD, *VERDICTS))
_WEIGHED = frozenset((*TRAIN, *WEIGHTS))
_DEEPEST = 200


def count_unread(record: Record, known: Format, counts: Counter[str]) -> None:
    """Counts the keys of ``record`` that neither ``known`` nor anything else reads, unless they are empty.

    A key inside of a list of objects is named ``LIST[].KEY``, once a record however many objects have it.
    """
    reads, nested = _known(known)
    strange = record.keys() - reads
    found = {key for key in strange if not empty(record[key]) and not _honored(key, record[key])} if strange else set()
    for key in nested.keys() & record.keys():
        found |= _within(key, record[key], nested)
    for name in found:
        counts[name if name in counts or len(counts) < MAX_KEYS else OTHERS] += 1


def _within(key: str, value: Any, nested: Mapping[str, frozenset[str]]) -> set[str]:
    """Names the keys that are not read in the objects at ``key``, at any depth."""
    found: set[str] = set()
    open_values = [(key, value, 0)]
    while open_values:
        name, value, depth = open_values.pop()
        mark = "" if isinstance(value, Mapping) else "[]"
        for item in (value,) if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
            if not isinstance(item, Mapping):
                continue
            for inner in item.keys() - nested[name]:
                if not (empty(item[inner]) or _honored(inner, item[inner]) or _answers_call(inner, item)):
                    found.add(f"{name}{mark}.{inner}")
            if depth < _DEEPEST:
                open_values += [(inner, item[inner], depth + 1) for inner in nested.keys() & item.keys() & nested[name]]
    return found


def _answers_call(key: str, message: Mapping[str, Any]) -> bool:
    """Tells whether the key is the name of the tool that speaks."""
    return key == "name" and role_or_none(message.get("role", message.get("from"))) == TOOL


def _honored(key: str, value: Any) -> bool:
    """Tells whether something other than the format has understood the key."""
    if key in _READ:
        return True
    if key in _SAID:
        try:
            return verdict(key, value) is not None
        except UserError:
            return True
    return key in _WEIGHED and (yes_or_no(value) is not None or isinstance(value, int | float))


@functools.lru_cache(maxsize=64)
def _known(known: Format) -> tuple[frozenset[str], Mapping[str, frozenset[str]]]:
    reads = frozenset((*known.keys, *known.reads, *known.neutral))
    return reads, {key: frozenset((*inner, *known.neutral)) for key, inner in known.nested}


def format_counts(counts: Mapping[str, int], most: int = 40) -> str:
    """Formats names with their counts, the most frequent first.

    >>> format_counts({"lang": 37, "source": 1200})
    'source (1,200), lang (37)'
    """
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = [f"{_shown(name)} ({count:,})" for name, count in ordered[:most]]
    return ", ".join(shown) + (f" and {len(ordered) - most:,} more keys" if len(ordered) > most else "")


def _shown(name: str) -> str:
    """Escapes and shortens a key for a terminal: it comes from a file."""
    name = name if len(name) <= 60 else name[:60] + "…"
    return name if name.isprintable() else repr(name)[1:-1]
