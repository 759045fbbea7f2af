"""Reads the files of benchmarks: rows and records with the line that they stand in, as errors name it."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError


def read_text(path: Path, what: str) -> str:
    """Reads a text file (UTF-8), line ends as they are.

    Args:
        path: of the file.
        what: it should hold, for messages.

    Raises:
        UserError: it is missing, or no UTF-8 text.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise UserError(
            f"{str(path)!r} is no file, but it should hold {what}. Put it there, or name another."
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: no UTF-8 text, where {what} was expected. Convert the file.") from error


def read_rows(path: Path, what: str) -> Iterator[tuple[int, list[str]]]:
    """Yields (line that it begins in, cells) for the rows of a CSV file that are not empty.

    Raises:
        UserError: as ``read_text``, quotes that do not match, or no row at all.
    """
    csv.field_size_limit(sys.maxsize)  # a cell may be as long as a text is
    reader = csv.reader(io.StringIO(read_text(path, what), newline=""), strict=True)
    begins, found = 1, False
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UserError(
                f"{path}, line {reader.line_num}: {error}, where {what} was expected. Mend the quotes."
            ) from error
        if cells is None:
            break
        if cells:
            found = True
            yield begins, cells
        begins = reader.line_num + 1
    if not found:
        raise UserError(f"{str(path)!r} is empty, but it should hold {what}. Fetch it again.")


def read_json(path: Path, what: str) -> Any:
    """Reads a JSON file.

    Raises:
        UserError: as ``read_text``, or no JSON.
    """
    text = read_text(path, what)
    if not text.strip():
        raise UserError(f"{str(path)!r} is empty, but it should hold {what}. Fetch it again.")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: no JSON ({error.msg}), where {what} was expected.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: no JSON that can be read ({error}), where {what} was expected.") from error


def read_json_lines(path: Path, what: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line, record) for the lines of a JSON Lines file that are not empty.

    Raises:
        UserError: as ``read_text``, a line that is no JSON object, or no line at all.
    """
    found = False
    for number, line in enumerate(read_text(path, what).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: no JSON ({error}), where {what} was expected.") from error
        if not isinstance(record, dict):
            raise UserError(f"{path}, line {number}: {str(record)[:60]!r} is no JSON object, but {what} was expected.")
        found = True
        yield number, record
    if not found:
        raise UserError(f"{str(path)!r} is empty, but it should hold {what}. Fetch it again.")


def text_fields(record: Any, names: tuple[str, ...], place: str, what: str) -> list[str]:
    """Returns the named texts of a record.

    Args:
        record: of JSON.
        names: of its fields.
        place: where it stands, for messages.
        what: it should be, for messages.

    Raises:
        UserError: it is no object, or one of them is missing, empty or no text.
    """
    if not isinstance(record, dict):
        raise UserError(f"{place}: {str(record)[:60]!r} is no JSON object, but {what} was expected.")
    for name in names:
        value = record.get(name)
        if not isinstance(value, str) or not value.strip():
            has = (
                f"{name} is {value!r:.60}"
                if name in record
                else f"the keys are {', '.join(map(str, record)) or 'none'}"
            )
            raise UserError(f"{place}: {has}, but {what} was expected, with a text as {name!r}.")
    return [record[name] for name in names]
