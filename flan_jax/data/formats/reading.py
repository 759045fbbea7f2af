"""The records of a file, one after the other, each with its number: JSON lines, JSON, TSV, Parquet, gzipped or not.

A record that cannot be read is an error in its place and harms no other.
"""

import array
import functools
import gzip
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    """The records with these numbers, which are in order. Of a file of lines, no others are read."""
    if path.suffix == ".gz" or suffix_of(path) not in (".jsonl", ".ndjson"):
        wanted = frozenset(numbers)
        yield from (numbered for numbered in numbered_records(path) if numbered[0] in wanted)
        return
    stat = path.stat()
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


def _lines(path: Path, parse: Callable[[bytes], Any]) -> Iterator[Numbered]:
    with _open(path) as lines:
        numbers = itertools.count(1)
        while True:
            number = next(numbers)
            try:
                line = lines.readline()
            except (OSError, EOFError) as error:  # a gzipped file that was cut off
                raise UserError(f"{path}, line {number}: the file is damaged ({error}). Fetch it again.") from error
            if not line:
                return
            if not line.isspace():
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
    for number, element in enumerate(loaded if isinstance(loaded, list) else [loaded]):
        try:
            yield number, _object(element)
        except UserError as error:
            yield number, error


def _parquet(path: Path) -> Iterator[Numbered]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        rows = (row for batch in file.iter_batches(1024) for row in batch.to_pylist())
        yield from enumerate(rows)
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as Parquet ({str(error).splitlines()[0]}). Fetch it again.") from error
