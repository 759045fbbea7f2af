"""Records in local files of JSON: one object a line, or one list a file."""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flan_jax.data.sources.base import check_split, digest, file_digest, known_splits, missing_data, resolve
from flan_jax.errors import RecordError, UserError
from flan_jax.tasks.source import NumberedRecord, Record, Source
from flan_jax.unique_keys import RepeatedKeyError, decode, decode_records

_REMEDY = "Correct or remove the record."


@dataclasses.dataclass(frozen=True)
class JsonSource(Source):
    """Records in local files, one object a line (``.jsonl``) or one list a file (``.json``)."""

    files: tuple[tuple[str, str], ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have a file."""
        return tuple(split for split, _ in self.files)

    def _path(self, split: str) -> Path:
        check_split(self, split)
        path = resolve(dict(self.files)[split])
        if not path.is_file():
            raise missing_data(self.describe(), path)
        return path

    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Yields the objects in the file's order; blank lines are passed over.

        Raises:
            UserError: no such file, or a ``.json`` file that is not one list.
        """
        for index, (number, content) in enumerate(self._contents(split)):
            record: Record | RecordError
            try:
                record = parse_record(content)
            except UserError as error:
                record = RecordError(f"{self._place(split, number)}: {error}")
            yield index, record

    def place(self, split: str, index: int) -> str:
        """Returns where record ``index`` stands: file and line, or file and position in its list."""
        number, _ = next(itertools.islice(self._contents(split), index, None))
        return self._place(split, number)

    def _place(self, split: str, number: int) -> str:
        path = self._path(split)
        return f"{path}, {'record' if path.suffix == '.json' else 'line'} {number}"

    def _contents(self, split: str) -> Iterator[tuple[int, Any]]:
        """(number, content) of each record: a line from 1 as bytes, or an element of a list from 0."""
        path = self._path(split)
        if path.suffix == ".json":
            yield from enumerate(_json_list(path))
            return
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.isspace():
                    yield number, line

    def count(self, split: str) -> int:
        """The number of records, unreadable ones among them."""
        return sum(1 for _ in self._contents(split))

    def fingerprint(self, split: str) -> str:
        """Digest of the file's content; moving the file changes nothing."""
        return digest("json", file_digest(self._path(split)))

    def size_hint(self, split: str) -> int:
        """Bytes of the file."""
        return self._path(split).stat().st_size

    def describe(self) -> str:
        """The files."""
        return "files " + ", ".join(f"{split}={path}" for split, path in self.files)


def jsonl(
    *, train: str | Path | None = None, validation: str | Path | None = None, test: str | Path | None = None
) -> JsonSource:
    """Makes a source of local files, ``.jsonl`` or ``.json`` lists; relative paths start at the data folder."""
    given = {"train": train, "validation": validation, "test": test}
    files = tuple((split, str(path)) for split, path in given.items() if path is not None)
    known_splits("jsonl(...)", [split for split, _ in files])
    return JsonSource(files)


def parse_record(content: Any) -> Record:
    """Returns the record in a line of JSON (bytes), or in an element of a list.

    Raises:
        UserError: it is none; the sentence stands behind the record's place and a colon.
    """
    record = _parsed(content) if isinstance(content, bytes) else content
    if isinstance(record, RepeatedKeyError):
        raise _repeated(record)
    if not isinstance(record, Mapping):
        raise UserError(not_an_object(record))
    return record


def _parsed(line: bytes) -> Any:
    try:
        return decode(line.decode().removeprefix("\ufeff").strip("\r\n"))
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text (byte {error.start + 1} of the line). Convert the file.") from error
    except json.JSONDecodeError as error:
        raise UserError(f"not valid JSON ({error.msg}, column {error.colno}). {_REMEDY}") from error
    except RepeatedKeyError as error:
        raise _repeated(error) from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of too many digits
        raise UserError(f"JSON that cannot be read ({error}). {_REMEDY}") from error


def _repeated(error: RepeatedKeyError) -> UserError:
    return UserError(f"{error}. {_REMEDY}")


def not_an_object(record: object) -> str:
    """Returns the message for a record that is no JSON object, to be written behind the record's place and a colon."""
    return f"a record must be a JSON object, not {type(record).__name__}. {_REMEDY}"


def load_json(path: Path, *, spoiled: bool = False, content: bytes | None = None) -> Any:
    """Loads a JSON file.

    Args:
        path: the file.
        spoiled: it holds records, and what is wrong with one harms no other: bytes that are not UTF-8 become halves
            of surrogate pairs (``flan_jax.tasks.unicode_check.unsound``), and a ``RepeatedKeyError`` stands in the place of a record
            that names a key twice.
        content: its bytes, where they stand compressed in it.

    Raises:
        UserError: not UTF-8 or not JSON, named by file, line and column.
    """
    try:
        text = (path.read_bytes() if content is None else content).decode(
            errors="surrogateescape" if spoiled else "strict"
        )
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line} is not UTF-8 text. Convert the file.") from error
    try:
        return decode_records(text) if spoiled else json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}: not valid JSON ({error.msg}, column {error.colno}). Correct the file."
        ) from error
    except RepeatedKeyError as error:
        raise UserError(f"{path}: {error}. Correct the file.") from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of too many digits
        raise UserError(f"{path}: JSON that cannot be read ({error}). Correct the file.") from error


def _json_list(path: Path) -> list[Any]:
    content = load_json(path, spoiled=True)
    if not isinstance(content, list):
        raise UserError(
            f"{path} holds {type(content).__name__}, not a list of records. One object a line is written as .jsonl."
        )
    return content
