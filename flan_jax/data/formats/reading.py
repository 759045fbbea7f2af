"""The records of a file, one after the other, each with its number: JSON lines, JSON, TSV, Parquet, gzipped or not.

A record that cannot be read is an error in its place and harms no other.
"""

import array
import functools
import gzip
import itertools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flan_jax.data.formats.record_format import Numbered
from flan_jax.errors import UserError

SUFFIXES = (".jsonl", ".json", ".ndjson", ".tsv", ".parquet")
COLUMNS = ("question", "answer", "rationale")
"""Of a file with tabs: FLAN's chains of thought are published in it, without a header."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_REMEDY = "Correct or remove the record."


def suffix_of(path: Path) -> str:
    """The suffix that says how a file is written; that of a gzipped one is the one before ``.gz``."""
    return (Path(path.stem) if path.suffix == ".gz" else path).suffix.lower()


def is_data_file(path: Path) -> bool:
    """Whether the file's name says that it may hold records."""
    return path.is_file() and suffix_of(path) in SUFFIXES and not path.name.startswith(".")


def numbered_records(path: Path) -> Iterator[Numbered]:
    """The records of a file: by line from 1, or by position in a list from 0.

    Raises:
        UserError: the file as a whole cannot be read.
    """
    suffix = suffix_of(path)
    if suffix == ".parquet":
        return _parquet(path)
    if suffix == ".tsv":
        return _lines(path, _row)
    if suffix == ".json" and not _is_lines(path):
        return _json(path)
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: a file of records ends in one of {', '.join(SUFFIXES)}, or in these with .gz.")
    return _lines(path, _parsed)


def records_at(path: Path, numbers: Sequence[int]) -> Iterator[Numbered]:
    """The records with these numbers, which are in order.

    A dump of a thousand tasks is read a thousand times, so no others are parsed: of a file of lines
    these alone are read, of a gzipped one no more than up to the last, and one list is kept.
    """
    suffix, stat = suffix_of(path), path.stat()
    wanted = frozenset(numbers)
    if suffix == ".parquet":
        yield from _parquet(path, wanted)
        return
    if suffix == ".tsv" or (path.suffix == ".gz" and suffix in (".jsonl", ".ndjson")):
        yield from _lines(path, _row if suffix == ".tsv" else _parsed, wanted)
        return
    if suffix == ".json":
        if _is_lines(path):
            yield from _lines(path, _parsed, wanted)
        else:
            elements = _kept_elements(path, stat.st_size, stat.st_mtime_ns)
            yield from ((number, _object_or_error(elements[number])) for number in numbers)
        return
    begins = _begins(path, stat.st_size, stat.st_mtime_ns)
    with path.open("rb") as lines:
        for number in numbers:
            lines.seek(begins[number - 1])
            yield number, _read_line(lines.readline(), number, _parsed)


@functools.lru_cache(maxsize=4)
def _begins(path: Path, size: int, modified_ns: int) -> "array.array[int]":
    """Where each line of a file begins."""
    begins = array.array("Q")
    at = 0
    with path.open("rb") as lines:
        for line in lines:
            begins.append(at)
            at += len(line)
    return begins


def counted_by(path: Path) -> str:
    """What the numbers of its records count."""
    lines = suffix_of(path) in (".jsonl", ".ndjson", ".tsv") or (suffix_of(path) == ".json" and _is_lines(path))
    return "line" if lines else "record"


def _open(path: Path) -> Any:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _lines(path: Path, parse: Callable[[bytes], Any], wanted: Collection[int] | None = None) -> Iterator[Numbered]:
    """The lines, or those of the numbers ``wanted``."""
    last = None if wanted is None else max(wanted, default=0)
    with _open(path) as lines:
        numbers = itertools.count(1)
        while True:
            number = next(numbers)
            if last is not None and number > last:
                return
            try:
                line = lines.readline()
            except (OSError, EOFError) as error:  # a gzipped file that was cut off
                raise UserError(f"{path}, line {number}: the file is damaged ({error}). Fetch it again.") from error
            if not line:
                return
            if (wanted is None or number in wanted) and not line.isspace():
                yield number, _read_line(line, number, parse)


def _read_line(line: bytes, number: int, parse: Callable[[bytes], Any]) -> Mapping[str, Any] | UserError:
    try:
        return _object(parse(line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line))
    except UserError as error:
        return error


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode().rstrip("\r\n"))
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text (byte {error.start + 1} of the line). Convert the file.") from error
    except json.JSONDecodeError as error:
        raise UserError(f"not valid JSON ({error.msg}, column {error.colno}). {_REMEDY}") from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of too many digits
        raise UserError(f"JSON that cannot be read ({error}). {_REMEDY}") from error


def _row(line: bytes) -> dict[str, str]:
    try:
        values = line.rstrip(b"\r\n").decode().split("\t")
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text (byte {error.start + 1} of the line). Convert the file.") from error
    if len(values) != len(COLUMNS):
        raise UserError(f"{len(values)} column(s) instead of {len(COLUMNS)} ({', '.join(COLUMNS)}). {_REMEDY}")
    return {column: value.replace("\\n", "\n") for column, value in zip(COLUMNS, values, strict=True)}


def _object(content: Any) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise UserError(f"a record must be a JSON object, not {type(content).__name__}. {_REMEDY}")
    return content


def _is_lines(path: Path) -> bool:
    """Whether a ``.json`` file has one object a line, as many published ones do."""
    with _open(path) as file:
        first = b""
        while not first:
            line = file.readline()
            if not line:
                return False
            first = line.removeprefix(_BYTE_ORDER_MARK).strip()
        if not first.startswith(b"{"):
            return False
        more = any(line.strip() for line in file)
    if not more:
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return True


def _json(path: Path) -> Iterator[Numbered]:
    for number, element in enumerate(_elements(path)):
        yield number, _object_or_error(element)


def _object_or_error(element: Any) -> Mapping[str, Any] | UserError:
    try:
        return _object(element)
    except UserError as error:
        return error


def _elements(path: Path) -> list[Any]:
    """The elements of a list, or one object. Bytes that are no text spoil the records that they stand in only."""
    with _open(path) as file:
        try:
            content = file.read().removeprefix(_BYTE_ORDER_MARK)
        except (OSError, EOFError) as error:
            raise UserError(f"{path}: the file is damaged ({error}). Fetch it again.") from error
    text = content.decode(errors="surrogateescape")
    try:
        loaded = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}: not valid JSON ({error.msg}, column {error.colno}). Correct the file."
        ) from error
    except (RecursionError, ValueError) as error:
        raise UserError(f"{path}: JSON that cannot be read ({error}). Correct the file.") from error
    if not isinstance(loaded, list | Mapping):
        raise UserError(f"{path} holds {type(loaded).__name__}, neither a list of records nor one. Correct the file.")
    return loaded if isinstance(loaded, list) else [loaded]


@functools.lru_cache(maxsize=1)
def _kept_elements(path: Path, size: int, modified_ns: int) -> list[Any]:
    return _elements(path)


def _parquet(path: Path, wanted: Collection[int] | None = None) -> Iterator[Numbered]:
    """The rows, or those of the numbers ``wanted``."""
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        begun = 0
        for batch in file.iter_batches(1024):
            own = range(batch.num_rows)
            chosen = own if wanted is None else [row for row in own if begun + row in wanted]
            rows = batch if wanted is None else batch.take(pyarrow.array(chosen, pyarrow.int64()))
            for row, record in zip(chosen, rows.to_pylist(), strict=True):
                yield begun + row, record
            begun += batch.num_rows
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as Parquet ({str(error).splitlines()[0]}). Fetch it again.") from error
