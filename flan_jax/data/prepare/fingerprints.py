"""Digests functions by their text and by what they refer to, never by an address (``callable_digest``).

A store prepared before a ``fields`` function was edited must not be taken for a new one. A
digest therefore covers the function's text, its captured and default values, and every function,
class and plain constant of one's own code that it names, and what those name in turn. One's own is
what stands in the same package, or in a module that nobody installed. Of a function that gin configures,
what a configuration binds to that very function counts (``gin_bindings``), and no more of gin's state.
"""

import dataclasses
import functools
import inspect
import sys
import sysconfig
import threading
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from flan_jax.data.prepare import gin_bindings
from flan_jax.data.sources.base import digest

_SHARED = "flan_jax.tasks.fields"  # what it does to a record is part of what the caller does
_SHIPPED = ("flan_jax", "mixtures")  # the same whether they are installed or worked on
_INSTALLED = {"site-packages", "dist-packages"}
_PYTHONS_OWN = Path(sysconfig.get_path("stdlib")).resolve()
_PLAIN = (str, bytes, int, float, bool, type(None))
_NAMES_IN_DIGESTS: Mapping[str, str] = {
    "flan_jax.data.seqio_bridge.register": "flan_jax.data.seqio_bridge",
    "flan_jax.data.sources.base": "flan_jax.data.sources",
    "flan_jax.tasks.chat.conversation": "flan_jax.tasks.dialog",
    "flan_jax.tasks.chat.turns": "flan_jax.tasks.turns",
    "flan_jax.tasks.unicode_check": "flan_jax.tasks.texts",
}
"""Module → the name it had when stores were first prepared: a module that moves leaves them valid."""


def callable_digest(function: Any) -> str:
    """Digests a function, method, ``functools.partial`` or callable object; hexadecimal."""
    return digest(*_describe(function, set()))


def _describe(function: Any, seen: set[int]) -> Iterator[str]:
    if id(function) in seen:
        return
    seen.add(id(function))
    wrapped = gin_bindings.configurable(function)
    if wrapped is not None:
        yield from _describe(wrapped.function, seen)
        yield from _gin_values(wrapped, frozenset(), seen)
    elif isinstance(function, functools.partial):
        wrapped = gin_bindings.configurable(function.func)
        if wrapped is None:
            yield from _describe(function.func, seen)
        else:  # what the caller gives, no configuration decides
            seen.add(id(function.func))
            yield from _describe(wrapped.function, seen)
            yield from _gin_values(wrapped, _given_parameters(wrapped.function, function), seen)
        for argument in function.args:
            if inspect.isfunction(argument) or isinstance(argument, functools.partial):
                yield from _describe(argument, seen)
        yield value_text(function.args)
        yield value_text(function.keywords)
    elif isinstance(function, types.MethodType):
        yield from _describe(function.__func__, seen)
        yield value_text(function.__self__)
    elif isinstance(function, types.FunctionType):
        yield _source_text(function)
        yield value_text(function.__defaults__)
        yield value_text(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            yield from _referenced(cell.cell_contents, function.__module__, seen)
        names = sorted(_names(function.__code__))
        for name in names:
            if name in function.__globals__:
                value = function.__globals__[name]
                value = _module_name(value) if name == "__name__" else value
                yield name
                yield from _referenced(value, function.__module__, seen)
                if isinstance(value, types.ModuleType) and _is_own(value.__name__, function.__module__):
                    for inner in (inner for inner in names if inner in vars(value)):
                        yield from _referenced(vars(value)[inner], value.__name__, seen)
    elif inspect.isclass(function):
        yield _source_text(cast(Any, function))
        for member in vars(function).values():
            if isinstance(member, types.FunctionType):
                yield from _describe(member, seen)
    elif isinstance(function, functools._lru_cache_wrapper):  # a cache changes nothing of what is returned
        yield from _describe(function.__wrapped__, seen)
    elif inspect.isroutine(function):  # built in
        yield qualified_name(function)
    else:
        yield from _describe(type(function), seen)
        yield value_text(function)


def _gin_values(wrapped: gin_bindings.Configurable, given: frozenset[str], seen: set[int]) -> Iterator[str]:
    """Describes the parameters that gin binds to a function, and nothing of other functions."""
    for name, value in gin_bindings.bindings(wrapped.selector, given=given):
        yield f"{wrapped.selector}.{name}"
        yield from _gin_value(value, seen)


def _gin_value(value: Any, seen: set[int]) -> Iterator[str]:
    if isinstance(value, gin_bindings.Reference):
        yield f"{'call of' if value.evaluated else 'reference to'} {qualified_name(value.function)}"
        if callable(value.function):
            yield from _describe(value.function, seen)
        for name, inner in value.bound:
            yield name
            yield from _gin_value(inner, seen)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _gin_value(key, seen)
            yield from _gin_value(item, seen)
    elif isinstance(value, list):
        yield f"{len(value)}"
        for item in value:
            yield from _gin_value(item, seen)
    else:
        yield value_text(value)


def _module_name(name: str) -> str:
    """Returns the name of a module as digests have it."""
    return _NAMES_IN_DIGESTS.get(name, name)


def qualified_name(function: Any) -> str:
    """Module and name of a function or class, as digests have them."""
    return f"{_module_name(getattr(function, '__module__', ''))}.{getattr(function, '__qualname__', '')}"


def _given_parameters(function: Any, partial: functools.partial[Any]) -> frozenset[str]:
    """Names the parameters that a partial sets."""
    try:
        names = list(inspect.signature(function).parameters)[: len(partial.args)]
    except (TypeError, ValueError):
        names = []
    return frozenset([*names, *partial.keywords])


def _referenced(value: Any, module: str, seen: set[int]) -> Iterator[str]:
    """Describes a value that a function refers to; functions and classes of other packages by name only."""
    wrapped = gin_bindings.configurable(value)
    if wrapped is not None:
        if _is_own(str(value.__module__), module):
            yield from _describe(value, seen)
        else:  # their code by name, what our configuration binds to it in full
            yield qualified_name(value)
            yield from _gin_values(wrapped, frozenset(), seen)
        return
    if callable(value) and hasattr(value, "__qualname__"):
        if _is_own(str(value.__module__), module):
            yield from _describe(value, seen)
        else:
            yield qualified_name(value)
    elif isinstance(value, types.ModuleType):
        yield _module_name(value.__name__)
    elif isinstance(value, functools.partial):
        yield from _describe(value, seen)
    else:
        yield value_text(value)


@functools.lru_cache(maxsize=4096)
def _is_own(name: str, module: str) -> bool:
    """Tells whether the code of the module ``name``, to which ``module`` refers, may be edited as its own."""
    top = name.partition(".")[0]
    if top == module.partition(".")[0] or name == _SHARED:
        return True
    file = getattr(sys.modules.get(name), "__file__", None)
    if top in _SHIPPED or file is None:
        return False
    path = Path(file).resolve()
    return not _INSTALLED & set(path.parts) and not path.is_relative_to(_PYTHONS_OWN)


def _names(code: types.CodeType) -> set[str]:
    """Collects the names that a function's code, and the code nested in it, looks up."""
    nested = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*map(_names, nested))


def value_text(value: Any) -> str:
    """Writes a value as the same text in every process: sets sorted, objects by their type."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(value_text, value)))}}}"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(value_text, value))})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{value_text(key)}: {value_text(item)}' for key, item in value.items())}}}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return f"{type(value).__qualname__}{value_text(inner)}"
    if isinstance(value, functools.partial) or inspect.isroutine(value) or inspect.isclass(value):
        return _shallow_text(value)
    pattern = getattr(value, "pattern", None)  # a compiled regular expression
    return f"{qualified_name(type(value))} {pattern or ''}"


def _shallow_text(function: Any) -> str:
    """Describes a function inside a container by its text alone, as tables of functions may refer to themselves."""
    wrapped = gin_bindings.configurable(function)
    if wrapped is not None:
        return _shallow_text(wrapped.function)
    if isinstance(function, functools.partial):
        return f"{_shallow_text(function.func)}{value_text(function.args)}{value_text(function.keywords)}"
    return _source_text(function)


# Python's parser, which finds the text of a class, fails now and then when two threads are in it.
_parsing = threading.Lock()


@functools.lru_cache(maxsize=4096)
def _source_text(what: Any) -> str:
    """Returns the source text, or the byte code of what was typed at a prompt."""
    try:
        with _parsing:
            return inspect.getsource(what)
    except (OSError, TypeError):
        code = getattr(what, "__code__", None)
        if code is None:
            return f"{getattr(what, '__module__', '')}.{getattr(what, '__qualname__', '')}"
        return (
            f"{code.co_code.hex()} {code.co_names} {value_text([c for c in code.co_consts if not inspect.iscode(c)])}"
        )
