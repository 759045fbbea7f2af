"""Checks of what gin lets pass: macros nobody gives or reads, settings that nothing reads, values of another type."""

import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gin

from flan_jax.cli.gin_reader import MACRO, OURS, Key, Origin, annotations, shipped_gin_dir
from flan_jax.cli.gin_values import macro_of
from flan_jax.errors import UserError, did_you_mean, unknown
from flan_jax.typed import check, expected, members, problem

RUN, STUDY = f"{OURS}run", f"{OURS}study"
_CONSTANT = "gin.constant"


def check_bindings(origins: Mapping[Key, Origin], roots: Sequence[str] = (RUN,)) -> None:
    """Checks everything that is bound, before anything is called.

    Args:
        origins: of all that is bound.
        roots: selectors of what will be called; what they refer to is read.

    A part whose settings are bound and that nobody refers to is referred to where there is one place for it:
    ``TuningConfig.lora_rank = 8`` alone is read, as if ``run.tuning = @TuningConfig()`` stood beside it.

    Raises:
        UserError: a macro that refers to itself, that nobody reads or gives; a setting that nothing reads; a value of
            another type than its field's.
    """
    _check_circles()
    _refer_to_parts(origins, roots)
    _check_macros(origins)
    read = _Reachable(roots)
    for key, origin in origins.items():
        if origin.own:
            _check_is_read(key, origin, read, origins)
    for scope, selector in sorted(read.parts):
        if selector.startswith(OURS):
            for parameter, value in _bound(scope, selector).items():
                _check_value(selector, parameter, value, origins.get((scope, selector, parameter)))


def macros_read() -> set[str]:
    """Finds the macros that any binding refers to."""
    return {name for name in map(macro_of, _references(gin.config._CONFIG)) if name is not None}


def name_varied_macros() -> None:
    """Puts the run option that a macro sets in the place of the macro's name, where a factor of a study varies that.

    Raises:
        UserError: the macro sets no run option, or several.
    """
    bound = gin.config._CONFIG
    macros = {scope for scope, selector in bound if selector == MACRO}
    for parameters in list(bound.values()):
        option = parameters.get("option")
        if isinstance(option, str) and option in macros:
            options = sorted(set(_fed_by(option)))
            if len(options) != 1:
                sets = f"sets {len(options)} options: {', '.join(options)}" if options else "sets no run option"
                raise UserError(
                    f"A factor of the study varies the macro {option}, which {sets}. Name the one run option that is varied."
                )
            parameters["option"] = options[0]


def _fed_by(macro: str) -> Iterator[str]:
    """Yields the options that take a macro's value as it is, by gin's names."""
    for (scope, selector), parameters in gin.config._CONFIG.items():
        for parameter, value in parameters.items():
            if macro_of(value) != macro:
                continue
            if selector == MACRO:
                yield from _fed_by(scope)
            else:
                yield f"{selector.removeprefix(OURS)}.{parameter}"


def _bound(scope: str, selector: str) -> Mapping[str, Any]:
    return gin.config._CONFIG.get((scope, selector), {})


def _references(value: Any) -> Iterator[Any]:
    yield from gin.config.iterate_references(value)


class _Reachable:
    """The parts that a run reads, with scopes and macros; and for each the reference through which it is read."""

    def __init__(self, roots: Sequence[str]) -> None:
        self.parts: set[tuple[str, str]] = set()
        self.macros: set[str] = set()
        for root in roots:
            self._follow("", root)

    def _follow(self, scope: str, selector: str) -> None:
        prefixes = scope.split("/")
        for end in range(len(prefixes) + 1):
            part = ("/".join(prefixes[:end]), selector)
            if part in self.parts:
                continue
            self.parts.add(part)
            for value in _bound(*part).values():
                self._follow_value(value, scope)

    def _follow_value(self, value: Any, scope: str) -> None:
        for reference in _references(value):
            name = macro_of(reference)
            if name is None:
                self._follow("/".join(reference.scopes) or scope, reference.configurable.selector)
            elif name not in self.macros:
                self.macros.add(name)
                self._follow_value(_bound(name, MACRO).get("value"), scope)

    def __contains__(self, key: Key) -> bool:
        scope, selector, _ = key
        return scope in self.macros if selector == MACRO else (scope, selector) in self.parts


def _check_circles() -> None:
    """A macro that leads back to itself has no value."""
    for scope, selector in gin.config._CONFIG:
        if selector == MACRO:
            _check_circle(scope, ())


def _check_circle(name: str, path: tuple[str, ...]) -> None:
    if name in path:
        circle = " → ".join([*path[path.index(name) :], name])
        raise UserError(f"The gin macro {name} refers to itself: {circle}. Give it a value: --gin.{name}=VALUE.")
    for reference in _references(_bound(name, MACRO).get("value")):
        other = macro_of(reference)
        if other is not None:
            _check_circle(other, (*path, name))


def _refer_to_parts(origins: Mapping[Key, Origin], roots: Sequence[str]) -> None:
    """Binds ``@Part()`` where a part that the user set has one place, and nothing stands there."""
    for key, origin in origins.items():
        read = _Reachable(roots)
        if origin.own and key[0] == "" and key[1].startswith(OURS) and key not in read:
            places = list(_places(key[1], read))
            if len(places) == 1 and places[0][1] not in _bound("", places[0][0]):
                selector, parameter = places[0]
                reference = gin.config.ConfigurableReference(_short(key[1]), True)
                gin.config._CONFIG.setdefault(("", selector), {})[parameter] = reference


def _places(selector: str, read: _Reachable) -> Iterator[tuple[str, str]]:
    """The parameters, of what is read, that hold a part of this kind."""
    wrapped = gin.config._REGISTRY[selector].wrapped
    for part in sorted({part for _, part in read.parts if part.startswith(OURS)}):
        for parameter, annotation in annotations(part).items():
            if wrapped in members(annotation):
                yield part, parameter


def _check_macros(origins: Mapping[Key, Origin]) -> None:
    """A macro nobody reads is a misspelling, which gin itself would ignore; a required one needs a value."""
    given = {scope for scope, selector in gin.config._CONFIG if selector == MACRO}
    read = macros_read()
    # A file may bind a parameter directly and so leave a shipped macro unread: that is no mistake.
    known = read | set(_shipped_macros())
    for name in sorted(given - known):
        raise unknown("gin macro", name, known, remedy="Nothing in the gin files reads it.")
    for parameter, value in sorted(_bound("", RUN).items()):
        if is_required(value):
            raise UserError(f"run.{parameter} has no value. Set it with --gin.run.{parameter}=VALUE.")
    for name in sorted(read):
        if name not in given or is_required(_bound(name, MACRO).get("value")):
            raise UserError(
                f"The gin macro {name} has no value. Set it with --gin.{name}=VALUE.{did_you_mean(name, given - {name})}"
            )


def is_required(value: Any) -> bool:
    """Tells whether a bound value is still ``%gin.REQUIRED``: gin hands out copies, so identity does not tell."""
    return isinstance(value, gin.config.ConfigurableReference) and value.scoped_selector == "gin.REQUIRED/gin.constant"


@functools.cache
def _shipped_macros() -> Mapping[str, tuple[str, ...]]:
    """The macros of the shipped files, each with the files that read it."""
    found: dict[str, tuple[str, ...]] = {}
    for file in sorted(shipped_gin_dir().rglob("*.gin")):
        text = file.read_text(encoding="utf-8")
        for name in re.findall(r"^([A-Z][A-Z0-9_]*) *=", text, re.M):
            found.setdefault(name, ())
        for name in set(re.findall(r"^[^#\n]*%([A-Z][A-Z0-9_]*)", text, re.M)):
            found[name] = (*found.get(name, ()), file.relative_to(shipped_gin_dir()).as_posix())
    return found


def _macros_fed_by(name: str) -> list[str]:
    """The macros that a shipped file takes from this one: of EVAL_OUTPUT_DIR, MODEL_DIR."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(shipped_gin_dir().rglob("*.gin")))
    return [found for text in texts for found in re.findall(rf"^([A-Z][A-Z0-9_]*) *= *%{name}\b", text, re.M)]


def _check_is_read(key: Key, origin: Origin, read: _Reachable, origins: Mapping[Key, Origin]) -> None:
    scope, selector, parameter = key
    if key in read or not (selector == MACRO or selector.startswith(OURS)):
        return
    if selector == MACRO:
        readers = [
            f"{_short(other)}.{name}"
            for (_, other), values in gin.config._CONFIG.items()
            for name, value in values.items()
            if macro_of(value) == scope and other != MACRO
        ]
        files = [file for file in _shipped_macros().get(scope, ()) if file.startswith("runs/")]
        instead = [
            name for name in _macros_fed_by(scope) if (given := origins.get((name, MACRO, "value"))) and given.own
        ]
        if instead:
            remedy = f"It feeds {instead[0]}, which has a value of its own. Leave one of the two out"
        elif readers:
            remedy = f"Only {', '.join(sorted(readers))} would, {_what_is_there()}"
        elif files:
            remedy = f"{' and '.join(files)} would: add --gin_file {files[0]}, or leave {scope} out"
        else:
            remedy = f"Leave {scope} out, or set the parameter that you mean"
        raise UserError(f"Nothing in this run reads the gin macro {scope} ({origin.where}). {remedy}.")
    name = f"{scope}/" * bool(scope) + _short(selector)
    places = [f"{_short(part)}.{slot}=@{name}()" for part, slot in _places(selector, read)]
    remedy = f"Set {' or '.join(places)} to have it read" if places else f"It is read {_where_read(selector)}"
    raise UserError(
        f"Nothing in this run reads {name}.{parameter} ({origin.where}): {_what_is_there()}. {remedy}, or leave it out."
    )


def _what_is_there() -> str:
    return f"run.model is {_shown(_bound('', RUN).get('model'))}"


def _shown(value: Any) -> str:
    return f"@{_short(value.configurable.selector)}" if hasattr(value, "configurable") else repr(value)


def _where_read(selector: str) -> str:
    return f"where something refers to @{_short(selector)}"


def _short(selector: str) -> str:
    return selector.rpartition(".")[2]


def _check_value(selector: str, parameter: str, value: Any, origin: Origin | None) -> None:
    """Checks a bound value against its field, through the macros that it comes by."""
    annotation = annotations(selector).get(parameter, Any)
    name = f"{_short(selector)}.{parameter}"
    macros = []
    while (macro := macro_of(value)) is not None:
        macros.append(macro)
        value = _bound(macro, MACRO).get("value")
    if macros:
        name = f"{macros[-1]} ({name})"
    elif origin is not None and origin.own and not origin.where.startswith("--gin."):
        name = f"{name} ({origin.where})"
    if isinstance(value, gin.config.ConfigurableReference):
        _check_reference(name, value, annotation)
    elif not any(True for _ in _references(value)):
        check(value, annotation, name)


def _check_reference(name: str, reference: Any, annotation: Any) -> None:
    selector, wrapped = reference.configurable.selector, reference.configurable.wrapped
    if selector == _CONSTANT:
        return
    if not reference.evaluate:
        if problem(wrapped, annotation):
            raise UserError(
                f"{name} is @{_short(selector)}; it must be {expected(annotation)}. Write @{_short(selector)}() for a part."
            )
    elif dataclasses.is_dataclass(wrapped) and Any not in members(annotation) and not _is_kind(wrapped, annotation):
        raise UserError(f"{name} is @{_short(selector)}(); it must be {expected(annotation)}.")


def _is_kind(wrapped: Any, annotation: Any) -> bool:
    """Tells whether an annotation allows a class, or one that it derives from."""
    return any(isinstance(kind, type) and issubclass(wrapped, kind) for kind in members(annotation))
