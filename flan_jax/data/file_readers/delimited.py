"""Reads ``.tsv`` and ``.csv``, whose first line names the columns, and FLAN's ``.tsv`` without one.

FLAN publishes its chains of thought as three columns without a header (question, answer, chain of thought),
line ends written as ``\\n`` and nothing quoted. Whether a first line is a header is judged by its words.
"""

import collections
import csv
import dataclasses
import functools
import io
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from flan_jax.data.file_readers.compressed import READ_ERRORS, open_data
from flan_jax.data.file_readers.suffixes import suffix_of
from flan_jax.data.formats.record_format import Numbered
from flan_jax.errors import UserError

COLUMNS = ("question", "answer", "rationale")
"""Of a file with tabs and without a header."""

_NAMES = """
instruction input output context response answer question rationale explanation prompt completion chosen
rejected inputs targets source target text label labels system history category id idx index title passage
document summary sentence sentence1 sentence2 premise hypothesis choices options query reply messages
conversations lang language task task_name task_source template_type template_idx weight split message_id
parent_id role user assistant human gpt topic definition dialogue article highlights url score rank en de fr
es translation
"""
_KNOWN = frozenset(_NAMES.split())
_NAME = re.compile(r"[^\W\d][\w.:/-]{0,39}")
_NO_TEXT = re.compile("[\udc80-\udcff]")
_LOOKED_AT = 50
_NAMED_BY = 4  # words of a column's name at most
_SENTENCE = re.compile(r"\d|[.!?;:,…。？！]\s*\Z")
_UNNAMED = "Unnamed: 0"
"""What pandas calls the column of its index, which it writes without a name."""


@dataclasses.dataclass(frozen=True)
class ColumnLayout:
    """The layout of a file of columns.

    Attributes:
        delimiter: between columns.
        columns: their names.
        header: whether the first line names them.
        quoted: cells may be quoted, and then hold delimiters and line ends.
    """

    delimiter: str
    columns: tuple[str, ...]
    header: bool
    quoted: bool


def detect_layout(path: Path) -> ColumnLayout:
    """Detects how a file is laid out; its head is read, and where it has a header all of it once.

    Raises:
        UserError: nobody can tell what its columns are; or a ``.csv`` whose quotes do not match.
    """
    stat = path.stat()
    return _layout(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _layout(path: Path, size: int, modified_ns: int) -> ColumnLayout:
    head: list[str] = []
    for line in _text(path):
        head.append(line)
        if len(head) > _LOOKED_AT:
            break
    if suffix_of(path) == ".csv":
        first = head[0] if head else ""
        delimiter = max(",;\t|", key=lambda mark: len(_header(_cells(first, mark))))
        if not (columns := _header(_cells(first, delimiter))):
            raise UserError(
                f"{path}: the first line of a .csv file names its columns, and this one does not ({first.strip()!r:.80}). "
                "Put a line with their names first, such as instruction,input,output."
            )
        _checked(columns, path)
        if problem := _wrong_quotes(path, delimiter):
            raise UserError(f"{path}, line {problem}. Correct the quotes.")
        return ColumnLayout(delimiter, columns, header=True, quoted=True)
    rows = [line.rstrip("\r\n").split("\t") for line in head if line.strip()]
    columns = _header(_cells(head[0], "\t") if head else [])
    named = 2 * sum(name in _KNOWN for name in columns) >= len(columns) > 0
    # Where no word is a name that is known, two cells alike are rather a first row's than a header's.
    if named or (columns and len(set(columns)) == len(columns) and not _recurs(rows)):
        return ColumnLayout("\t", _checked(columns, path), header=True, quoted=not _wrong_quotes(path, "\t"))
    if rows and sum(len(row) == len(COLUMNS) for row in rows) * 2 < len(rows):
        raise UserError(
            f"{path}: its first line names no columns ({head[0].strip()!r:.80}), and it has {len(rows[0])} of them: only three "
            f"({', '.join(COLUMNS)}) are read without names, as FLAN publishes its chains of thought. Put a line with the "
            "columns' names first."
        )
    return ColumnLayout("\t", COLUMNS, header=False, quoted=False)


def why_not_flan_cot(path: Path) -> str:
    """Says why a file without a header may be none of FLAN's chains of thought; ``""`` where it looks like one.

    A question has an answer, and reasoning is longer than the answer that it leads to.
    """
    if suffix_of(path) != ".tsv" or detect_layout(path).header:
        return ""
    read = [record for _, record in numbered_rows(path, range(1, _LOOKED_AT)) if not isinstance(record, UserError)]
    if _names_columns([[record[column] for column in COLUMNS] for record in read]):
        return (
            f"its first line ({' | '.join(read[0].values())!r:.80}) looks like names of columns, of which none is known. Call "
            f"them {', '.join(COLUMNS)} if they are, or name the format if that line is a record (--format flan_cot)"
        )
    words = [[len(record[column].split()) for column in COLUMNS] for record in read]
    answered = sum(bool(row[0] and row[1]) for row in words)
    if 2 * answered > len(words) and sum(row[2] for row in words) > sum(row[1] for row in words):
        return ""
    return (
        "its first line names no columns, and the three that it has do not look like FLAN's question, answer and chain of "
        "thought. Put a line with the columns' names first, or name the format if they are (--format flan_cot)"
    )


def _names_columns(rows: list[list[str]]) -> bool:
    """Tells whether a first row has a few words a cell, none of a question's or a sentence's, and others reason longer."""
    if len(rows) < 2:
        return False
    first, others = rows[0], rows[1:]
    few = all(0 < len(cell.split()) <= _NAMED_BY and not _SENTENCE.search(cell.strip()) for cell in first)
    return few and 2 * len(first[2].split()) * len(others) <= sum(len(row[2].split()) for row in others)


def numbered_rows(path: Path, wanted: Collection[int] | None = None) -> Iterator[Numbered]:
    """Yields the rows with the line, from 1, that each begins in; or those of the numbers ``wanted``.

    Raises:
        UserError: as ``detect_layout``, or a damaged file.
    """
    layout = detect_layout(path)
    last = None if wanted is None else max(wanted, default=0)
    begins = 1
    for cells, ends in _rows(path, layout):
        number, begins = begins, ends + 1
        if last is not None and number > last:
            return
        if not any(cells) or (layout.header and number == 1) or (wanted is not None and number not in wanted):
            continue
        yield number, _record(cells, layout)


def _record(cells: list[str], layout: ColumnLayout) -> dict[str, str] | UserError:
    if len(cells) != len(layout.columns):
        return UserError(
            f"{len(cells)} column(s) instead of {len(layout.columns)} ({', '.join(layout.columns)}). Correct or remove the record."
        )
    if any(_NO_TEXT.search(cell) for cell in cells):
        return UserError("not UTF-8 text. Convert the file.")
    if not layout.header:
        cells = [cell.replace("\\n", "\n") for cell in cells]
    return dict(zip(layout.columns, cells, strict=True))


def _rows(path: Path, layout: ColumnLayout) -> Iterator[tuple[list[str], int]]:
    """(cells, number of the line that they end in)."""
    if not layout.quoted:
        for number, line in enumerate(_text(path), start=1):
            yield line.rstrip("\r\n").split(layout.delimiter), number
        return
    reader = _reader(path, layout.delimiter)
    for cells in reader:
        yield cells, reader.line_num


# The type of what csv.reader returns is known to type checkers only.
def _reader(path: Path, delimiter: str) -> "csv._reader":
    csv.field_size_limit(sys.maxsize)  # a cell may be as long as a text is
    return csv.reader(_text(path), delimiter=delimiter, strict=True)


def _text(path: Path) -> Iterator[str]:
    """The lines with their ends; bytes that are no text become halves of surrogate pairs, which spoil their row only."""
    with open_data(path) as file:
        try:
            yield from io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="\n")
        except READ_ERRORS as error:
            raise UserError(f"{path}: the file is damaged ({error}). Fetch it again.") from error


def _wrong_quotes(path: Path, delimiter: str) -> str:
    """The line where quotes do not match, and how; ``""`` where they do everywhere."""
    reader = _reader(path, delimiter)
    try:
        for _ in reader:
            pass
    except csv.Error as error:
        return f"{reader.line_num}: not well-formed ({error})"
    return ""


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []


def _header(cells: list[str]) -> tuple[str, ...]:
    """The names of columns in a first line; ``()`` where its cells are no names."""
    names = [cell.strip() for cell in cells]
    names = [name.lower() if name.lower() in _KNOWN else name for name in names]
    if len(names) > 1 and not names[0]:
        names[0] = _UNNAMED
    known = sum(name in _KNOWN for name in names)
    likely = [name in _KNOWN or name == _UNNAMED or _NAME.fullmatch(name) is not None for name in names]
    if not (len(names) > 1 or known) or not names:
        return ()
    # Names of several words, "Gold label", pass beside known ones.
    return tuple(names) if all(likely) or (known > 1 and all(len(name) <= 40 for name in names)) else ()


def _checked(columns: tuple[str, ...], path: Path) -> tuple[str, ...]:
    """The columns of a header, of which a row's record has each once."""
    if twice := [name for name, count in collections.Counter(columns).items() if count > 1]:
        raise UserError(
            f"{path}, line 1: the column {twice[0]!r} stands twice, so one of its values would be lost. Rename or remove one."
        )
    return columns


def _recurs(rows: list[list[str]]) -> bool:
    """Tells whether a cell of the first row stands in its column again, as labels do and names do not."""
    return any(
        cell.strip() and any(cell in other[at : at + 1] for other in rows[1:]) for at, cell in enumerate(rows[0])
    )
