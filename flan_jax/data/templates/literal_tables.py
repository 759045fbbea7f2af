"""Reads tables of literals from a Python file, which is parsed and never run (``read_tables``).

What a module assigns to a name is worked out where it is made of literals: strings, numbers,
lists, tuples, dictionaries, joined with ``+`` or repeated with ``*``, entries taken from earlier
tables, and calls of the record class that the caller names. Anything else is an error that says
where it stands, and other statements are passed over.
"""

import ast
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

from flan_jax.errors import UserError, unknown

_LARGEST = 1_000_000
"""Elements or characters that a repetition may make: a table is no larger, and a hostile file could be."""
_MOST_WORK = 5_000_000
"""Values, and elements of joined ones, that a file may ask for: names that double each other ask for no end of them."""


def read_tables(path: Path, *names: str, records: Collection[str] = ()) -> dict[str, Any]:
    """Reads the values that a module assigns to ``names``.

    Args:
        path: the Python file.
        *names: names assigned at the top of the module; ``TABLE["key"] = …`` adds to one.
        records: classes whose calls stand for a dictionary of their keyword arguments.

    Raises:
        UserError: no such file, no Python, no such name, or a value that is no literal; with file
            and line.
    """
    try:
        module = ast.parse(path.read_bytes(), filename=str(path))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist. Name the folder that holds the published files.") from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(f"{path}{line} is not Python. Take the file as it was published.") from error
    reader = _Reader(path, frozenset(names), frozenset(records))
    for statement in module.body:
        try:
            reader.read(statement)
        except RecursionError as error:
            raise UserError(
                f"{path}, line {statement.lineno}: too deeply nested. Take the file as it was published."
            ) from error
    for name in names:
        if name not in reader.tables:
            raise unknown(f"table in {path}:", name, reader.assigned)
    return {name: reader.tables[name] for name in names}


class _Reader:
    def __init__(self, path: Path, wanted: frozenset[str], records: frozenset[str]) -> None:
        self._path, self._wanted, self._records = path, wanted, records
        self.tables: dict[str, Any] = {}
        self.assigned: dict[str, ast.expr] = {}
        self._left = _MOST_WORK

    def read(self, statement: ast.stmt) -> None:
        """Reads one statement of the module: an assignment to a table, or nothing."""
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                self._assign(target, statement.value)
        elif not isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            self._check_harmless(statement)

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.assigned[target.id] = value
            if target.id in self._wanted:
                self.tables[target.id] = self._value(value)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            if target.value.id in self._wanted:
                table = self.tables.get(target.value.id)
                if not isinstance(table, dict):
                    self._refuse(target, f"{target.value.id} is no dictionary here")
                table[self._key(target.slice)] = self._value(value)
        else:
            self._check_harmless(target)

    def _check_harmless(self, statement: ast.AST) -> None:
        """Refuses a statement that is passed over and yet may change a table."""
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and node.id in self._wanted:
                self._refuse(node, f"{node.id} is used in a statement that is no plain assignment")

    def _spend(self, node: ast.expr, work: int) -> None:
        self._left -= work
        if self._left < 0:
            self._refuse(node, f"the file asks for more than {_MOST_WORK:,} values")

    def _value(self, node: ast.expr) -> Any:
        self._spend(node, 1)
        match node:
            case ast.Constant(value=str() | int() | float() | None):
                return node.value
            case ast.Tuple() | ast.List():
                items = [self._value(item) for item in node.elts]
                return tuple(items) if isinstance(node, ast.Tuple) else items
            case ast.Dict():
                if None in node.keys:
                    self._refuse(node, "a dictionary is unpacked into another")
                return {
                    self._key(key): self._value(value)
                    for key, value in zip(node.keys, node.values, strict=True)
                    if key is not None
                }
            case ast.BinOp(op=ast.Add() | ast.Mult()):
                return self._joined(node)
            case ast.Name(id=name):
                return self._named(node, name)
            case ast.Subscript():
                table, key = self._value(node.value), self._value(node.slice)
                try:
                    return table[key]
                except (LookupError, TypeError):
                    self._refuse(node, f"there is no entry {key!r}")
            case ast.Call(func=ast.Name(id=name), args=[]) if name in self._records:
                return {keyword.arg: self._value(keyword.value) for keyword in node.keywords if keyword.arg}
        self._refuse(node, f"{type(node).__name__} is not one of text, numbers, lists, dictionaries and their sums")

    def _key(self, node: ast.expr) -> Any:
        key = self._value(node)
        if not isinstance(key, str | int | float):
            self._refuse(node, "a key must be a text or a number")
        return key

    def _joined(self, node: ast.BinOp) -> Any:
        left: Any = self._value(node.left)
        right: Any = self._value(node.right)
        if isinstance(node.op, ast.Mult):
            repeated, times = (left, right) if isinstance(right, int) else (right, left)
            if not isinstance(repeated, str | list | tuple) or not isinstance(times, int):
                self._refuse(node, "only a text or a list can be repeated")
            if times * len(repeated) > _LARGEST:
                self._refuse(node, f"it repeats something to more than {_LARGEST:,} elements")
            self._spend(node, times * len(repeated))
            return repeated * times
        if type(left) is type(right) and isinstance(left, str | list | tuple):
            self._spend(node, len(left) + len(right))
            return left + right
        self._refuse(node, "only two texts or two lists can be joined")

    def _named(self, node: ast.expr, name: str) -> Any:
        if name in self.tables:
            return self.tables[name]
        if name not in self.assigned:
            self._refuse(node, f"the name {name!r} is not assigned above")
        value = self.assigned.pop(name)  # out while it is worked out, so that nothing can stand for itself
        try:
            return self._value(value)
        finally:
            self.assigned[name] = value

    def _refuse(self, node: ast.AST, why: str) -> NoReturn:
        line = getattr(node, "lineno", 0)
        raise UserError(f"{self._path}, line {line}: {why}. The file is read as data and never run; correct this line.")
