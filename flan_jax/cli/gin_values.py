"""Meanings of words of the command line: they are decided by what a word's field holds, not by how the word looks.

``--gin.MODEL_DIR=2024-11-21`` names a folder, since the field that MODEL_DIR feeds is a text; ``--gin.run.pack=false`` is
False, since that one is a boolean.
"""

import ast
import re
from collections.abc import Sequence
from typing import Any, Literal, get_origin

import gin

from flan_jax.cli.gin_reader import MACRO, annotations
from flan_jax.errors import UserError
from flan_jax.typed import members

_MACRO_WORD = re.compile(r"%(gin\.REQUIRED|[A-Z][A-Z0-9_]*)")
_REFERENCE = re.compile(r"@[\w./]+(\(\))?")


def split_binding(binding: str) -> tuple[str, str]:
    """Splits ``NAME=VALUE``; neither has space around it.

    Raises:
        UserError: there is no ``=``.
    """
    name, equals, value = binding.partition("=")
    if not equals or not name.strip():
        raise UserError(f"--gin.{binding} has no value. Write --gin.NAME=VALUE.")
    return name.strip(), value.strip()


def in_order(bindings: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values, the last of each name, those first that say what feeds what.

    What a macro may hold is known once all that read it are.
    """
    last = dict(split_binding(binding) for binding in bindings)
    return sorted(last.items(), key=lambda pair: ("." not in pair[0], not pair[1].startswith("%")))


def as_gin(value: str, fields: Sequence[Any]) -> str:
    """Converts a word of the command line to gin's form of the value that it means.

    Args:
        value: as it was given.
        fields: annotations of the fields that it goes to; none where nobody knows.

    >>> as_gin("2024-11-21", [str]), as_gin("false", [bool]), as_gin("3", [int]), as_gin("adamw", [int])
    ("'2024-11-21'", 'False', '3', "'adamw'")
    """
    kinds = [kind for field in fields for kind in members(field)]
    texts = str in kinds or any(get_origin(kind) is Literal for kind in kinds)
    if _MACRO_WORD.fullmatch(value) or (not texts and _REFERENCE.fullmatch(value)):
        return value
    unquoted = _unquoted(value)
    if bool in kinds and (value if unquoted is None else unquoted).lower() in ("true", "false"):
        return (value if unquoted is None else unquoted).capitalize()
    if unquoted is not None:
        return value
    if type(None) in kinds and value == "None":
        return value
    if texts:
        own = [kind for kind in kinds if kind is not str and get_origin(kind) is not Literal]
        many = any(get_origin(kind) in (tuple, list, Sequence) for kind in own)
        return value if many and value[:1] in ("(", "[") and _is_literal(value) else repr(value)
    return value if _is_literal(value) or value[:1] in ("'", '"', "(", "[", "{", "@", "%") else repr(value)


def _unquoted(value: str) -> str | None:
    """Returns what stands between quotes, where a value is a quoted text."""
    if value[:1] not in ("'", '"') or not _is_literal(value):
        return None
    found = ast.literal_eval(value)
    return found if isinstance(found, str) else None


def _is_literal(value: str) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


def fields_of(name: str) -> list[Any]:
    """Finds the annotations of the fields that a name of the command line feeds: a parameter's, or those of a macro's readers."""
    if "." not in name:
        return _macro_fields(name, frozenset())
    scoped, _, parameter = name.rpartition(".")
    found = gin.config._REGISTRY.get_match(scoped.rpartition("/")[2]) if _is_selector(scoped) else None
    annotation = annotations(found.selector).get(parameter) if found else None
    return [] if annotation is None else [annotation]


def _is_selector(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z_][\w./]*", name) is not None


def _macro_fields(name: str, seen: frozenset[str]) -> list[Any]:
    fields: list[Any] = []
    for (scope, selector), values in gin.config._CONFIG.items():
        for parameter, value in values.items():
            if macro_of(value) != name:
                continue
            if selector != MACRO:
                fields += [annotations(selector)[parameter]] if parameter in annotations(selector) else []
            elif scope not in seen:
                fields += _macro_fields(scope, seen | {name, scope})
    return fields


def macro_of(value: Any) -> str | None:
    """Returns the macro's name, where a bound value is one."""
    if isinstance(value, gin.config.ConfigurableReference) and value.configurable.selector == MACRO:
        return "/".join(value.scopes)
    return None
