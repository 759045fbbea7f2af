"""Reading gin: statement by statement, so that every value's place is known and a folder's file stays data.

gin's own reader runs ``import`` lines wherever they stand, follows includes in a circle, and forgets who said what.
"""

import contextlib
import dataclasses
import importlib.resources
import inspect
import io
import os
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import gin
from gin import config_parser

from flan_jax.errors import UserError, did_you_mean, unknown
from flan_jax.experiments.renamed import new_name, new_value
from flan_jax.tasks.user_modules import refused_exit
from flan_jax.typed import hints

Key = tuple[str, str, str]
"""Scope, complete selector, parameter; of a macro its name, ``gin.macro`` and ``value``."""
OURS = "flan_jax."
MACRO = "gin.macro"
_NOT_GIN = (ValueError, SyntaxError, tokenize.TokenError, TypeError, AttributeError, NameError)


@dataclasses.dataclass(frozen=True)
class Origin:
    """The place where a value was written.

    Attributes:
        where: file and line, or the option.
        own: whether the user wrote it for this run; what shipped files and a run's folder say is not.
        file: the real path of the file; ``""`` for an option.
    """

    where: str
    own: bool
    file: str = ""


def same_value(one: Any, other: Any) -> bool:
    """Tells whether two bound values are one: gin takes ``%A`` and ``%B`` for equal, as both are references to ``macro``."""
    named = [[repr(each) for each in gin.config.iterate_references(value)] for value in (one, other)]
    return bool(one == other) and named[0] == named[1]


def binding_name(key: Key) -> str:
    """Returns a value's name as a gin file has it.

    >>> binding_name(("LEARNING_RATE", "gin.macro", "value")), binding_name(("", "flan_jax.run", "seed"))
    ('LEARNING_RATE', 'run.seed')
    """
    scope, selector, parameter = key
    return scope if selector == MACRO else f"{selector.split('.')[-1]}.{parameter}"


class GinReader:
    """Reads files and bindings into gin's configuration.

    Args:
        search_paths: folders in which files are looked for, after the working folder and before the shipped files.

    Attributes:
        origins: where each value that holds was written.
        imports: modules that a run's folder would have imported, which is not done.
        written: files that a run wrote of itself.
    """

    def __init__(self, search_paths: Sequence[str] = ()) -> None:
        self.origins: dict[Key, Origin] = {}
        self.imports: list[str] = []
        self.written: list[str] = []
        self._search_paths = search_paths
        self._shipped = shipped_gin_dir().resolve()

    def file(self, name: str) -> None:
        """Reads a file with what it includes.

        Raises:
            UserError: there is none, it is not gin, it includes itself, or names what is not there.
        """
        self._file(name, ())

    def folder(self, path: Path) -> None:
        """Reads the configuration in a run's folder as data: nothing is imported, and nothing but a run is called.

        Raises:
            UserError: it is not gin, or holds what only code could give a meaning.
        """
        with _opened(path) as stream:
            self._statements(stream, str(path), own=False, data=True, including=(), saved=True)

    def binding(self, name: str, value: str, where: str) -> None:
        """Reads ``name = value``, the value as gin writes it."""
        self._statements(io.StringIO(f"{name} = {value}"), where, own=True, data=False, including=(), lines=False)

    def check_found(self, name: str) -> None:
        """Makes sure that a file of this name is found where files are looked for.

        Raises:
            UserError: it is not.
        """
        self._found(name)

    def _file(self, name: str, including: tuple[str, ...]) -> None:
        path = self._found(name)
        real = os.path.realpath(path)
        if real in including:
            circle = [*including[including.index(real) :], real]
            raise UserError(f"gin files include each other in a circle: {' → '.join(circle)}. Take one include out.")
        # What a run wrote down of itself may end with other values than its macros have, as that of a study's run does.
        saved = _is_saved(Path(path))
        own = not saved and not Path(real).is_relative_to(self._shipped)
        with _opened(path) as stream:
            self._statements(stream, name, own=own, data=False, including=(*including, real), saved=saved)

    def _found(self, name: str) -> Path:
        places = [Path(), *map(Path, self._search_paths), self._shipped]
        for path in (place / Path(name).expanduser() for place in places):
            with contextlib.suppress(OSError, ValueError):  # a name with a NUL, or too long for the system
                if path.is_file():
                    return path
        known = [path.relative_to(self._shipped).as_posix() for path in self._shipped.rglob("*.gin")]
        looked = ", ".join(["the working folder", *self._search_paths, "the shipped files"])
        shown = name if len(name) < 200 else f"{name[:200]}…"
        raise UserError(f"gin file {shown!r} is in none of: {looked}.{did_you_mean(name, known)}")

    def _statements(
        self,
        stream: TextIO,
        where: str,
        *,
        own: bool,
        data: bool,
        including: tuple[str, ...],
        lines: bool = True,
        saved: bool = False,
    ) -> None:
        if saved:
            self.written.append(where)
        delegate = _DataDelegate(where) if data else gin.config.ParserDelegate()
        with _gin_errors_explained(where), gin.config._parse_scope() as context:
            parser = config_parser.ConfigParser(stream, delegate)
            while True:
                with _gin_errors_explained(where, parser if lines else None):
                    statement = parser.parse_statement()
                if statement is None:
                    break
                place = f"{where}, line {statement.location.line_num}" if lines else where
                with _gin_errors_explained(place):
                    origin = Origin(place, own, including[-1] if including else "")
                    if isinstance(statement, config_parser.BindingStatement):
                        statement = _by_new_name(statement, place, saved=saved)
                    self._apply(statement, context, origin, data=data, including=including)
            gin.config._IMPORTS.update(context.imports)

    def _apply(self, statement: Any, context: Any, origin: Origin, *, data: bool, including: tuple[str, ...]) -> None:
        if isinstance(statement, config_parser.BindingStatement):
            scope, selector, parameter, value, _ = statement
            if not parameter:
                scope, selector, parameter = f"{scope}/{selector}" if scope else selector, MACRO, "value"
            parsed = gin.config.ParsedBindingKey.parse((scope, selector, parameter))
            key = (*parsed.config_key, parsed.arg_name)
            values = gin.config._CONFIG.setdefault(parsed.config_key, {})
            earlier = self.origins.get(key)
            if (
                earlier is not None
                and earlier.file in including[:-1]
                and not same_value(values.get(parsed.arg_name), value)
            ):
                raise UserError(
                    f"{origin.where} sets {binding_name(key)}, which {earlier.where} has set before it includes that file: the "
                    "included value would win. Put the include line above it."
                )
            values[parsed.arg_name] = value
            self.origins[key] = origin
        elif isinstance(statement, config_parser.BlockDeclaration):
            if not context.get_configurable(statement.selector):
                raise unknown(f"configurable ({origin.where})", statement.selector, configurables())
        elif isinstance(statement, config_parser.ImportStatement):
            if data:
                self.imports.append(statement.module)
                return
            with refused_exit(f"{origin.where}: import {statement.module}"):
                context.process_import(statement)
        elif data:
            raise UserError(f"{origin.where}: a run's folder is data, and includes no other file. Take the line out.")
        else:
            self._file(statement.filename, including)


class _DataDelegate(gin.config.ParserDelegate):
    """References in a run's folder: to parts of a run and to macros, never to code that happens to be loaded."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    def configurable_reference(self, scoped_selector: str, evaluate: bool) -> Any:
        reference = super().configurable_reference(scoped_selector, evaluate)
        if not reference.configurable.selector.startswith(OURS):
            raise UserError(
                f"{self._where} refers to @{scoped_selector}, which is no part of a run. A run's folder is data: what it "
                "names is not called. Give the run's own gin files with --gin_file."
            )
        return reference


def _is_saved(path: Path) -> bool:
    """Tells whether a gin file is what a run wrote down of itself, in the words of its version."""
    return path.name == "config.gin" and any(path.with_name(name).exists() for name in ("manifest.json", "checkpoints"))


def _by_new_name(statement: Any, place: str, *, saved: bool) -> Any:
    """A binding in the name and words that its option has now.

    Raises:
        UserError: it has an earlier name and stands in what a user wrote.
    """
    part, name = statement.selector.rpartition(".")[2], statement.arg_name
    new = new_name(part, name)
    value = new_value(part, name, statement.value)
    if saved:
        if isinstance(value, gin.config.ConfigurableReference):
            _reword_macro(part, name, value)
        return statement._replace(arg_name=new or name, value=value)
    if new is not None:
        shown = f", and its {statement.value!r} is {value!r}" if value != statement.value else ""
        raise UserError(f"{place}: {part}.{name} is called {part}.{new} now{shown}. Write that.")
    return statement


def _reword_macro(part: str, name: str, reference: Any) -> None:
    """Puts the value of a run's macro, which an option reads, in the words of today."""
    held = gin.config._CONFIG.get(("/".join(reference.scopes), MACRO), {})
    if "value" in held:
        held["value"] = new_value(part, name, held["value"])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        with path.open(encoding="utf-8") as stream:
            yield stream
    except OSError as error:
        raise UserError(f"gin file {str(path)!r} cannot be read: {error.strerror}.") from error


@contextlib.contextmanager
def _gin_errors_explained(where: str, parser: config_parser.ConfigParser | None = None) -> Iterator[None]:
    """Raises what gin raises while it reads as one sentence, with the line at which a parser stands."""
    line = parser.current_token.start[0] if parser else 0
    where = f"{where}, line {line}" if line else where
    try:
        yield
    except UserError:
        raise
    except (RecursionError, MemoryError):
        raise UserError(f"{_short(where)} is nested too deeply to be read. Write a plain value.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8 ({error.reason}). Save it as UTF-8 text.") from None
    except _NOT_GIN as error:
        raise _parse_error(error, _short(where)) from error


def _short(where: str) -> str:
    return where if len(where) <= _SHOWN else f"{where[:_SHOWN]}…"


_SHOWN = 300


def _parse_error(error: Exception, where: str) -> UserError:
    text = str(error).strip()
    parameter = re.search(r"Configurable '(\S+)' doesn't have a parameter named '(\w+)'", text)
    if parameter:
        name, argument = parameter.groups()
        return unknown(f"parameter of {name.split('.')[-1]} ({where})", argument, _parameters(name))
    configurable = re.search(r"No configurable matching (?:reference )?'?@?([\w./]+)", text)
    if configurable:
        remedy = "A module that registers more is named with --module_import."
        return unknown(f"configurable ({where})", configurable.group(1), configurables(), remedy=remedy)
    first = text.splitlines()[0] if text else type(error).__name__
    return UserError(f"{where} is not valid gin: {first}. A value is a Python literal, @reference or %MACRO.")


def configurables() -> list[str]:
    """Lists the names of what a run is made of."""
    return [selector.split(".")[-1] for selector, _ in gin.config._REGISTRY.items() if selector.startswith(OURS)]


def _parameters(name: str) -> list[str]:
    matches = [s for s, _ in gin.config._REGISTRY.items() if s.split(".")[-1] == name.split(".")[-1]]
    return list(annotations(matches[0])) if matches else []


def annotations(selector: str) -> Mapping[str, Any]:
    """Returns the parameters of a configurable with their annotations; without one, ``Any``."""
    wrapped: Any = gin.config._REGISTRY[selector].wrapped
    try:
        found = dict(hints(wrapped))
    except (NameError, TypeError):  # of others, whose annotations may name what is not there
        found = {}
    try:
        names = list(inspect.signature(wrapped).parameters)
    except (TypeError, ValueError):
        names = []
    return {**dict.fromkeys(names, Any), **found}


def shipped_gin_dir() -> Path:
    """Finds the folder of the gin files that ship with the package.

    Inside an installed package they are ``flan_jax/gin_files``; in a checkout the folder ``gin``.
    """
    package = Path(str(importlib.resources.files("flan_jax")))
    installed = package / "gin_files"
    return installed if installed.is_dir() else package.parent / "gin"
