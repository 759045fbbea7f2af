"""Reads the records of a file with their numbers: JSON lines, JSON, tables, Parquet, Arrow; compressed or not.

A record that cannot be read is an error in its place and harms no other.
"""

import array
import functools
import itertools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.data.file_readers.columnar import columnar_rows
from flan_jax.data.file_readers.compressed import READ_ERRORS, compression_of, open_data
from flan_jax.data.file_readers.delimited import numbered_rows
from flan_jax.data.file_readers.suffixes import suffix_of, unknown_suffix
from flan_jax.data.formats.record_format import Numbered
from flan_jax.data.sources.json_files import parse_record
from flan_jax.errors import UserError
from flan_jax.unique_keys import RepeatedKeyError, decode, decode_records

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_JSON = (".jsonl", ".ndjson", ".json")
_TABLES = (".tsv", ".csv")
_COLUMNAR = (".parquet", ".arrow")


def numbered_records(path: Path) -> Iterator[Numbered]:
    """Yields the records of a file with their numbers: lines from 1, or positions in a list from 0.

    Raises:
        UserError: the file as a whole cannot be read.
    """
    suffix = suffix_of(path)
    if suffix in _COLUMNAR:
        return columnar_rows(path)
    if suffix in _TABLES:
        return numbered_rows(path)
    if suffix not in _JSON:
        raise unknown_suffix(path)
    return _lines(path) if _is_lines(path) else _json(path)


def records_at(path: Path, numbers: Sequence[int]) -> Iterator[Numbered]:
    """Yields the records with these numbers, which are in order.

    A dump of a thousand tasks is read a thousand times, so no others are parsed: of a file of lines
    these alone are read, of a compressed one no more than up to the last, and one list is kept.
    """
    suffix, stat = suffix_of(path), path.stat()
    wanted = frozenset(numbers)
    if suffix in _COLUMNAR:
        yield from columnar_rows(path, wanted)
    elif suffix in _TABLES:
        yield from numbered_rows(path, wanted)
    elif not _is_lines(path):
        elements = _kept_elements(path, stat.st_size, stat.st_mtime_ns)
        yield from ((number, _record_or_error(elements[number])) for number in numbers)
    elif suffix == ".json" or compression_of(path):
        yield from _lines(path, wanted)
    else:
        begins = _begins(path, stat.st_size, stat.st_mtime_ns)
        with path.open("rb") as lines:
            for number in numbers:
                lines.seek(begins[number - 1])
                yield number, _record_or_error(lines.readline())


@functools.lru_cache(maxsize=4)
def _begins(path: Path, size: int, modified_ns: int) -> "array.array[int]":
    """Returns where each line of a file begins."""
    begins = array.array("Q")
    at = 0
    with path.open("rb") as lines:
        for line in lines:
            begins.append(at)
            at += len(line)
    return begins


def number_unit(path: Path) -> str:
    """Returns what the numbers of a file's records count: ``line`` or ``record``."""
    suffix = suffix_of(path)
    return "line" if suffix in _TABLES or (suffix in _JSON and _is_lines(path)) else "record"


def _lines(path: Path, wanted: Collection[int] | None = None) -> Iterator[Numbered]:
    """The lines, or those of the numbers ``wanted``."""
    last = None if wanted is None else max(wanted, default=0)
    with open_data(path) as lines:
        numbers = itertools.count(1)
        while True:
            number = next(numbers)
            if last is not None and number > last:
                return
            try:
                line = lines.readline()
            except READ_ERRORS as error:  # a compressed file that was cut off
                raise UserError(f"{path}, line {number}: the file is damaged ({error}). Fetch it again.") from error
            if not line:
                return
            if (wanted is None or number in wanted) and not line.isspace():
                yield number, _record_or_error(line)


def _record_or_error(content: Any) -> Mapping[str, Any] | UserError:
    """Returns the record in a line (bytes) or in an element of a list, or why there is none."""
    try:
        return parse_record(content)
    except UserError as error:
        return error


def _is_lines(path: Path) -> bool:
    """Tells whether a file has one object a line, as many published ``.json`` have; some ``.jsonl`` hold one list."""
    stat = path.stat()
    return _has_lines(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _has_lines(path: Path, size: int, modified_ns: int) -> bool:
    named = suffix_of(path) != ".json"
    with open_data(path) as file:
        try:
            first = b""
            while not first:
                line = file.readline()
                if not line:
                    return named
                first = line.removeprefix(_BYTE_ORDER_MARK).strip()
            if named and not first.startswith(b"["):
                return True
            if not named and not first.startswith(b"{"):
                return False
            more = any(line.strip() for line in file)
        except READ_ERRORS:
            return True  # which the lines say better, as far as they can be read
    if not more:
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True


def is_one_object(path: Path) -> bool:
    """Tells whether a JSON file holds one object, and neither a list nor one a line."""
    if _is_lines(path):
        return False
    with open_data(path) as file:
        try:
            return bool(file.read(1 << 16).removeprefix(_BYTE_ORDER_MARK).lstrip().startswith(b"{"))
        except READ_ERRORS:
            return False


def _json(path: Path) -> Iterator[Numbered]:
    for number, element in enumerate(_elements(path)):
        yield number, _record_or_error(element)


def _elements(path: Path) -> list[Any]:
    """The elements of a list, or one object. Bytes that are no text spoil the records that they stand in only."""
    with open_data(path) as file:
        try:
            content = file.read().removeprefix(_BYTE_ORDER_MARK)
        except READ_ERRORS as error:
            raise UserError(f"{path}: the file is damaged ({error}). Fetch it again.") from error
    text = content.decode(errors="surrogateescape")
    try:
        loaded = decode_records(text) if text.lstrip().startswith("[") else decode(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}: not valid JSON ({error.msg}, column {error.colno}). Correct the file."
        ) from error
    except RepeatedKeyError as error:
        raise UserError(f"{path}: {error}. Correct the file.") from error
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path}: JSON that cannot be read ({error}). Correct the file.") from error
    if not isinstance(loaded, list | Mapping):
        raise UserError(f"{path} holds {type(loaded).__name__}, neither a list of records nor one. Correct the file.")
    return loaded if isinstance(loaded, list) else [loaded]


@functools.lru_cache(maxsize=1)
def _kept_elements(path: Path, size: int, modified_ns: int) -> list[Any]:
    return _elements(path)
