"""The order of gin files: a later one wins, so one that silently undoes an earlier one is refused.

A model's file and a run's file touch different values and stand in any order. A file that goes on top of a run
(``runs/lora.gin``, ``runs/prompt.gin``, ``runs/freeze.gin``) changes some of its values, and must come after it.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import gin

from flan_jax.cli.gin_reader import Key, binding_name, same_value
from flan_jax.errors import UserError

Kind = Literal["model", "run", "on top", "own run", "own"]
# What a file of a kind may change: values of files of these kinds that were read before it.
_MAY: dict[Kind, tuple[Kind, ...]] = {
    "model": ("run", "own run"),
    "on top": ("run", "own run"),
    "run": (),
    "own run": ("model", "run", "own run", "own"),
    "own": ("model", "run", "on top", "own run", "own"),
}
_MIXTURE: Key = ("", "flan_jax.run", "mixture")


class FileOrder:
    """Watches files as they are read, and knows which values of one were changed by the next.

    Args:
        shipped: the folder of the shipped files.
        search_paths: folders in which files are looked for before it.
    """

    def __init__(self, shipped: Path, search_paths: Sequence[str] = ()) -> None:
        self._shipped, self._search_paths = shipped.resolve(), search_paths
        self._kinds: dict[str, Kind] = {}
        self._owners: dict[Key, str] = {}
        self._undone: list[tuple[str, str, str, Any, Any]] = []

    @contextlib.contextmanager
    def reading(self, file: str) -> Iterator[None]:
        """Notes what one file of the command line changes, with what it includes; around its reading."""
        before = _bound()
        yield
        after = _bound()
        kind = self._kind(file, brings_run=_MIXTURE in after and _MIXTURE not in before)
        self._kinds[file] = kind
        for key, value in after.items():
            if key in before and same_value(before[key], value):
                continue
            owner = self._owners.get(key)
            may = owner is None or self._kinds[owner] in _MAY[kind] or self._includes(file, owner)
            if owner is not None and not may and not _is_open(before[key]):
                self._undone.append((file, owner, binding_name(key), before[key], value))
            self._owners[key] = file

    def check(self, bindings: Sequence[str]) -> None:
        """Raises a UserError where a file undid another, unless a binding says the value that shall be.

        Args:
            bindings: ``NAME=VALUE`` of the command line, which win over all files.
        """
        said = {binding.partition("=")[0].strip() for binding in bindings}
        for file, owner, name, old, new in self._undone:
            if name in said:
                continue
            kind, theirs = self._kinds[file], self._kinds[owner]
            order = f"Name {owner} after {file}, or say" if kind in _MAY[theirs] else "Leave one of them out, or say"
            raise UserError(
                f"{file} comes after {owner} and undoes what that sets: {name} would be {new!r} in the place of {old!r}. "
                f"{order} --gin.{name}=VALUE."
            )

    def _kind(self, file: str, *, brings_run: bool) -> Kind:
        text = self._shipped_text(file)
        if text is None:
            return "own run" if brings_run else "own"
        if re.search(r"^(include|run\.mixture\b)", text, re.M):
            return "run"
        return "on top" if re.search(r"^run\.tuning\b", text, re.M) else "model"

    def _shipped_text(self, file: str) -> str | None:
        for folder in (Path(), *map(Path, self._search_paths), self._shipped):
            path = (folder / file).resolve()
            if path.is_file():
                return path.read_text(encoding="utf-8") if path.is_relative_to(self._shipped) else None
        return None

    def _includes(self, file: str, other: str) -> bool:
        path = Path(other)
        return f"include '{path.parent.name}/{path.name}'" in (self._shipped_text(file) or "")


def _bound() -> dict[Key, Any]:
    return {
        (scope, selector, parameter): value
        for (scope, selector), values in gin.config._CONFIG.items()
        for parameter, value in values.items()
    }


def _is_open(value: Any) -> bool:
    """Tells whether a value is still to be given (``%gin.REQUIRED``)."""
    return isinstance(value, gin.config.ConfigurableReference) and value.selector == "gin.constant"
