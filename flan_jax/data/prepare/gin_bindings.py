"""Reads what gin binds to a function from gin's wrapper around it, without importing gin.

``@gin.configurable`` gives a function a wrapper whose module globals are gin's whole state: every binding of every
configuration that was ever read. What a preprocessor depends on of it are the bindings of its own selector, of the
macros and references in them, and of nothing else.
"""

import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_GIN = "gin.config"
_MACRO, _CONSTANT = "gin.macro", "gin.constant"
_OURS = "flan_jax."


class Configurable(NamedTuple):
    """A function that gin made configurable.

    Attributes:
        function: what the wrapper calls.
        selector: its whole name in gin.
    """

    function: Any
    selector: str


class Reference(NamedTuple):
    """A bound value ``@NAME`` or ``@NAME()``.

    Attributes:
        function: the function referred to, without its wrapper.
        bound: (parameter, value) pairs, as ``bindings`` yields them.
        evaluated: its result is the value.
    """

    function: Any
    bound: tuple[tuple[str, Any], ...]
    evaluated: bool


def configurable(function: Any) -> Configurable | None:
    """Unwraps a function that gin made configurable; ``None`` for any other."""
    if not isinstance(function, types.FunctionType) or function.__globals__.get("__name__") != _GIN:
        return None
    captured = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    if not {"fn", "selector"} <= set(captured):
        return None
    return Configurable(captured["fn"].cell_contents, captured["selector"].cell_contents)


def bindings(
    selector: str, scopes: tuple[str, ...] = (), given: frozenset[str] = frozenset()
) -> Iterator[tuple[str, Any]]:
    """Yields the parameters that a configuration binds to a selector, sorted by name, macros and references resolved.

    Args:
        selector: a whole name in gin.
        scopes: in which it is called; the innermost one decides.
        given: parameters that the caller gives itself, which therefore no binding decides.
    """
    yield from _bindings(selector, scopes, given, ())


def _bindings(
    selector: str, scopes: tuple[str, ...], given: frozenset[str], within: tuple[str, ...]
) -> Iterator[tuple[str, Any]]:
    config = _state("_CONFIG")
    found: dict[str, Any] = {}
    for depth in range(len(scopes) + 1):
        found |= config.get(("/".join(scopes[:depth]), selector), {})
    for name in sorted(set(found) - given):
        yield name, _resolved(found[name], (*within, selector))


def _resolved(value: Any, within: tuple[str, ...]) -> Any:
    """Resolves a bound value to one without gin's own classes."""
    if type(value).__name__ == "ConfigurableReference" and type(value).__module__ == _GIN:
        scope, name = "/".join(value.scopes), value.configurable.selector
        if name == _MACRO:
            return _resolved(_state("_CONFIG").get((scope, _MACRO), {}).get("value"), within)
        if name == _CONSTANT:
            return _state("_CONSTANTS").get(scope)
        bound = () if name in within else tuple(_bindings(name, tuple(value.scopes), frozenset(), within))
        return Reference(value.configurable.wrapped, bound, value.evaluate)
    if isinstance(value, Mapping):
        return {_resolved(key, within): _resolved(item, within) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(item, within) for item in value]
    return value


def _state(name: str) -> Mapping[Any, Any]:
    return getattr(sys.modules.get(_GIN), name, {})


def binds_functions_of_others() -> bool:
    """Tells whether a configuration binds parameters of what is not ours, which a fresh process would not know."""
    own = (_OURS, "gin.")
    return any(values and not selector.startswith(own) for (_, selector), values in _state("_CONFIG").items())
