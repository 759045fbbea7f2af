"""Values checked against the annotations of the fields that hold them: one check for every configuration.

Standard library only; every layer may import it. A configuration is a frozen dataclass whose ``__post_init__`` begins
with ``check_fields(self)``. What an annotation cannot say by itself stands in it as a rule: ``Annotated[int, Range(1)]``.
"""

import dataclasses
import functools
import math
import numbers
import os
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from flan_jax.errors import UserError, did_you_mean

WHOLE_LIMIT = 2**31 - 1
"""The largest whole number where nothing else is said: steps and lengths are 32 bits wide on a device."""


@dataclasses.dataclass(frozen=True)
class Range:
    """The range that a number may lie in.

    Attributes:
        at_least: the smallest, itself allowed.
        at_most: the largest, itself allowed.
        above: what it must exceed.
        below: what must exceed it.
    """

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None

    def refuses(self, value: Any) -> bool:
        """Tells whether a number lies outside."""
        return (
            (self.at_least is not None and value < self.at_least)
            or (self.at_most is not None and value > self.at_most)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        )

    def words(self) -> str:
        """The limits, as they stand behind "a number"."""
        if self.at_least is not None and self.at_most is not None:
            return f"from {_shown(self.at_least)} to {_shown(self.at_most)}"
        named = (
            ("of at least", self.at_least),
            ("above", self.above),
            ("at most", self.at_most),
            ("below", self.below),
        )
        return " and ".join(f"{word} {_shown(limit)}" for word, limit in named if limit is not None)


@dataclasses.dataclass(frozen=True)
class PathRule:
    """A text that names a file or a folder of this machine.

    Attributes:
        remote: whether it may be an address (``gs://…``) as well.
    """

    remote: bool = False

    def problem(self, value: str) -> str:
        """Says what is wrong with it; ``""`` for nothing."""
        if _unwritable(value):
            return "it holds a NUL, or bytes that are no UTF-8, and no path may have these here. Choose another one"
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", value)
        if scheme and scheme.group(1).lower() in ("file", "local"):
            return f"a path is needed there. Write it without {scheme.group()!r}"
        if scheme and not self.remote:
            return (
                "a folder or file of this machine is needed there: only a run (MODEL_DIR, INITIAL_CHECKPOINT_PATH) and its STORE "
                "can be addresses. Copy it here"
            )
        if scheme:
            return ""
        if "\\" in value:
            return "it must have no backslash, which some libraries take for '/'. Write folders with '/'"
        path = os.path.expanduser(value)
        if len(os.fsencode(path)) > _PATH_BYTES:
            return (
                f"it has {len(os.fsencode(path)):,} bytes, and a path has at most {_PATH_BYTES:,}. Choose a shorter one"
            )
        longest = max(path.split("/"), key=lambda part: len(os.fsencode(part)))
        if len(os.fsencode(longest)) > _NAME_BYTES:
            return (
                f"it has a name of {len(os.fsencode(longest))} bytes, and file systems hold {_NAME_BYTES} at most. "
                "Choose a shorter one"
            )
        if path.startswith("~"):
            return f"there is no home folder {path.split('/')[0]!r}. Write the path in full"
        return ""


_PATH_BYTES, _NAME_BYTES = 4095, 255

Natural = Annotated[int, Range(0)]
Positive = Annotated[int, Range(1)]
Rows = Annotated[int, Range(1, 2**20)]
"""Of a batch: a million at most, as more are a slip that would take the memory of the machine."""
Seed = Annotated[int, Range(0, 2**32 - 1)]
Share = Annotated[float, Range(0, 1)]
AtLeast0 = Annotated[float, Range(0)]
Above0 = Annotated[float, Range(above=0)]
Fraction = Annotated[float, Range(0, below=1)]
LocalPath = Annotated[str, PathRule()]
AnyPath = Annotated[str, PathRule(remote=True)]


def check_fields(config: Any, owner: str = "") -> None:
    """Checks every field of a dataclass against its annotation; lists become tuples where tuples are declared.

    Args:
        config: an instance, as its ``__post_init__`` has it.
        owner: what messages call it; by default its class.

    Raises:
        UserError: a value of another type, or outside of what its annotation allows.
    """
    kind: Any = type(config)
    for name, annotation in hints(kind).items():
        value = getattr(config, name)
        check(value, annotation, f"{owner or kind.__name__}.{name}")
        if isinstance(value, list) and any(get_origin(option) is tuple for option in _options(annotation)):
            object.__setattr__(config, name, tuple(value))


def check(value: Any, annotation: Any, name: str) -> None:
    """Checks one value.

    Args:
        value: as it was given.
        annotation: what it should be.
        name: of the field, for the message.

    Raises:
        UserError: it is something else.
    """
    wrong = problem(value, annotation)
    if wrong:
        raise UserError(f"{name} is {_quoted(value)}; {wrong}.{_remedy(value, annotation)}")


def unread(config: Any, by: str, readers: Mapping[str, Sequence[Any]], *, owner: str = "") -> Iterator[tuple[str, str]]:
    """Fields of a dataclass that are set though the value of another field leaves them without a reader.

    Args:
        config: an instance.
        by: the field that decides.
        readers: of each field that depends on it, the values of ``by`` with which it is read.
        owner: what messages call it; by default its class.

    Yields:
        The field, and a sentence that says so.
    """
    chosen, owner = getattr(config, by), owner or type(config).__name__
    for field in dataclasses.fields(config):
        wanted, value = readers.get(field.name), getattr(config, field.name)
        if wanted and chosen not in wanted and value != field.default:
            yield (
                field.name,
                f"{owner}.{field.name}={value!r} is read with {' or '.join(f'{by}={choice!r}' for choice in wanted)} only, and "
                f"the {by} is {chosen!r}. Set {by}={wanted[0]!r}, or leave {field.name} out.",
            )


@functools.cache
def hints(owner: Any) -> Mapping[str, Any]:
    """The annotations of a dataclass's fields, or of a function's arguments, rules included."""
    found = typing.get_type_hints(owner, include_extras=True)
    if dataclasses.is_dataclass(owner):
        return {field.name: found[field.name] for field in dataclasses.fields(owner)}
    return {name: annotation for name, annotation in found.items() if name != "return"}


def problem(value: Any, annotation: Any) -> str:
    """Says what is wrong with a value, as a part of a sentence that begins with "it"; ``""`` for nothing."""
    options = _options(annotation)
    found = [_problem(value, option) for option in options]
    if not all(found):
        return ""
    # Of a value that has the right type and yet is wrong, the type's own words say more than all of them together.
    own = [text for text, option in zip(found, options, strict=True) if _is_a_at_all(value, _taken_apart(option)[0])]
    return own[0] if own else f"{_MUST}{expected(annotation)}"


def expected(annotation: Any) -> str:
    """Says what an annotation allows, in words.

    >>> expected(Annotated[int, Range(1)]), expected(bool), expected(tuple[str, ...] | None)
    ('a whole number of at least 1', 'True or False', 'a tuple of texts or None')
    """
    return " or ".join(dict.fromkeys(_words(option) for option in _options(annotation)))


def members(annotation: Any) -> list[Any]:
    """The kinds that an annotation allows, without their rules.

    >>> members(Annotated[int, Range(1)] | None)
    [<class 'int'>, <class 'NoneType'>]
    """
    return [_taken_apart(option)[0] for option in _options(annotation)]


_MUST = "it must be "


def _options(annotation: Any) -> list[Any]:
    """The members of a union, rules kept with each."""
    inner, rules = _taken_apart(annotation)
    if get_origin(inner) in (typing.Union, types.UnionType):
        return [option for member in get_args(inner) for option in _options(member)]
    return [Annotated[inner, *rules] if rules else inner]


def _taken_apart(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(annotation) is Annotated:
        inner, *rules = get_args(annotation)
        return inner, tuple(rules)
    return annotation, ()


def _problem(value: Any, option: Any) -> str:
    kind, rules = _taken_apart(option)
    if not _is_a(value, kind):
        if kind is str and isinstance(value, str) and any(isinstance(rule, PathRule) for rule in rules):
            return PathRule().problem(value)
        return f"{_MUST}{_words(option)}"
    for rule in rules:
        wrong = rule.problem(value) if isinstance(rule, PathRule) else f"{_MUST}{_words(option)}" * rule.refuses(value)
        if wrong:
            return wrong
    if kind is int and not _bounded(rules) and abs(value) > WHOLE_LIMIT:
        return f"{_MUST}at most {WHOLE_LIMIT:,}"
    if get_origin(kind) is tuple:
        (each, *_) = get_args(kind)
        return "" if all(not problem(item, each) for item in value) else f"{_MUST}{_words(option)}"
    if _is_mapping(kind) and get_args(kind):
        each = get_args(kind)[1]
        wrong = next((text for text in (problem(item, each) for item in value.values()) if text), "")
        return f"{_MUST}{_words(option)}" if wrong else ""
    if _is_sequence(kind) and get_args(kind):
        return "" if all(not problem(item, get_args(kind)[0]) for item in value) else f"{_MUST}{_words(option)}"
    return ""


def _bounded(rules: Sequence[Any]) -> bool:
    """Tells whether a rule says the largest number itself."""
    return any(isinstance(rule, Range) and not rule.at_most is rule.below is None for rule in rules)


def _is_a_at_all(value: Any, kind: Any) -> bool:
    """The same as ``_is_a``, for what is said of it: a text that no file can hold is a text."""
    return _is_a(value, kind) or (kind is str and isinstance(value, str))


def _is_a(value: Any, kind: Any) -> bool:
    """Tells whether a value is of a kind, whatever the rules say: an int is a float, a bool is neither."""
    if kind is Any:
        return True
    if kind is None or kind is type(None):
        return value is None
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and _finite(value)
    if kind is str:
        return isinstance(value, str) and not _unwritable(value)
    if get_origin(kind) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, (tuple, list))
    if _is_mapping(kind):
        return isinstance(value, Mapping)
    if _is_sequence(kind):
        return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if get_origin(kind) is Callable:
        return callable(value)
    return isinstance(value, get_origin(kind) or kind)


def _unwritable(text: str) -> bool:
    """Tells whether no file can hold a text: it has a NUL, or half a character, as bytes that are no UTF-8 become."""
    return "\0" in text or any("\ud800" <= character <= "\udfff" for character in text)


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_sequence(kind: Any) -> bool:
    return (get_origin(kind) or kind) is Sequence


_PLURAL = {str: "texts", int: "whole numbers", bool: "True or False", float: "numbers"}


def _words(option: Any) -> str:
    kind, rules = _taken_apart(option)
    limits = " ".join(rule.words() for rule in rules if isinstance(rule, Range))
    text = "a path" if any(isinstance(rule, PathRule) for rule in rules) else "a text"
    plain = {bool: "True or False", int: "a whole number", float: "a finite number", str: text, type(None): "None"}
    if kind in plain:
        return f"{plain[kind]} {limits}".strip()
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(repr, get_args(kind))) if len(get_args(kind)) > 1 else repr(get_args(kind)[0])
    if get_origin(kind) is tuple or _is_sequence(kind):
        each = (get_args(kind) or (Any,))[0]
        return f"a tuple of {_PLURAL.get(each) or expected(each)}" if each is not Any else "a tuple"
    if _is_mapping(kind):
        return "a mapping of names to " + _PLURAL.get((*get_args(kind), Any, Any)[1], "values")
    if dataclasses.is_dataclass(kind):
        return f"@{kind.__name__}()"  # type: ignore[union-attr]
    if get_origin(kind) is Callable:
        return "a reference such as @T5Config, without parentheses"
    return f"a {getattr(kind, '__name__', kind)}"


def _remedy(value: Any, annotation: Any) -> str:
    """Says what to write instead, where that can be told from the value."""
    kinds = members(annotation)
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if isinstance(value, str) and choices:
        return did_you_mean(value, [str(choice) for choice in choices])
    if isinstance(value, str) and any(get_origin(kind) is tuple for kind in kinds):
        return f" Write ({value!r},)."
    if isinstance(value, str) and bool in kinds and value.strip().lower() in ("true", "false"):
        return f" Write {value.strip().capitalize()} without quotes."
    if isinstance(value, float) and value.is_integer() and int in kinds and float not in kinds:
        return f" Write {int(value)}."
    if str in kinds and isinstance(value, (int, float)):
        return f" Put it in quotes: '{value}'."
    return ""


def _quoted(value: Any) -> str:
    """A value as messages show it: what is long is cut."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a whole number of too many digits
        return f"a {type(value).__name__} that is too large to be shown"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_SHOWN = 120


def _shown(limit: float) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}"
