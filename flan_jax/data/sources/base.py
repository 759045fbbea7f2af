"""Where records come from: lazy handles. Building one reads nothing; ``records`` does.

Every handle implements ``flan_jax.tasks.spec.Source``. Relative paths are taken from the data
folder, which is looked up when a record is asked for, never at import.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from flan_jax.data.sources.hub import hub_in_reach, trained_splits
from flan_jax.errors import UserError
from flan_jax.tasks.spec import Record, Unreadable
from flan_jax.unique_keys import RepeatedKeyError, decode, decode_records

T = TypeVar("T")

SPLITS = ("train", "validation", "test")
_log = logging.getLogger(__name__)
CONVERTED = "refs/convert/parquet"
"""The hub's branch of a data set that was a script, which ``datasets`` no longer runs."""
DATA_DIR_VARIABLE = "FLAN_JAX_DATA_DIR"
_chosen_data_dir: Path | None = None


def set_data_dir(path: str | Path | None) -> None:
    """Chooses the data folder for this process; ``None`` goes back to the environment."""
    global _chosen_data_dir
    _chosen_data_dir = Path(path).expanduser() if path else None


def data_dir() -> Path:
    """The folder that relative paths start from: chosen, else FLAN_JAX_DATA_DIR, else the working directory."""
    return _chosen_data_dir or Path(os.environ.get(DATA_DIR_VARIABLE) or ".").expanduser()


def resolve(path: str | Path) -> Path:
    """``path`` itself when it is absolute, else below the data folder."""
    return data_dir() / Path(path).expanduser()


def missing_data(what: str, path: Path) -> UserError:
    """The one message for data that is not where it should be."""
    folder = data_dir()
    here = path.relative_to(folder) if path.is_relative_to(folder) else path
    if not here.is_absolute() and here != path and here.exists():
        remedy = f"It is there in the working folder: write its whole path, {str(here.absolute())!r}."
    else:
        remedy = f"Set the DATA_DIR of the run, or {DATA_DIR_VARIABLE}, to the folder that holds it."
    return UserError(f"{what}: {str(path)!r} does not exist (the data folder is {str(folder)!r}). {remedy}")


def _check_split(source: Any, split: str) -> None:
    if split not in source.splits:
        raise UserError(f"{source.describe()} has no split {split!r}. It has: {', '.join(source.splits) or 'none'}.")


def digest(*parts: object) -> str:
    """Hexadecimal SHA-256 of the printed parts."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content, read again only when the file changed."""
    stat = path.stat()
    return _file_digest(str(path), stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=65536)
def _file_digest(path: str, size: int, modified_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclasses.dataclass(frozen=True)
class FromDataFolder(Generic[T]):
    """Marks a factory that reads the data folder, so that nobody calls it who was not asked to.

    ``register_mixture("mine", FromDataFolder(make))``: a catalogue that is only being listed
    leaves such a mixture unresolved.

    Attributes:
        make: the factory.
        arguments: its arguments.
        outline: arguments with which it does without files that are not there, so that its rates can
            be told; ``()`` where it cannot.
    """

    make: Callable[..., T]
    arguments: tuple[tuple[str, Any], ...] = ()
    outline: tuple[tuple[str, Any], ...] = ()

    def __call__(self, **overrides: Any) -> T:
        """Makes it, with ``overrides`` in the place of the arguments given before."""
        return self.make(**{**dict(self.arguments), **overrides})


@dataclasses.dataclass(frozen=True)
class GeneratedSource:
    """Records that a function makes. See ``generated``."""

    name: str
    make: Callable[[str], Sequence[Record]]
    version: str
    splits: tuple[str, ...] = SPLITS

    def records(self, split: str, unreadable: Unreadable | None = None) -> Iterator[Record]:
        """Yields what ``make(split)`` returns.

        Raises:
            UserError: what it returns is no mapping, and there is no ``unreadable`` to tell.
        """
        _check_split(self, split)
        for index, record in enumerate(self.make(split)):
            if isinstance(record, Mapping):
                yield record
            else:
                where = f"{self.describe()}, split {split!r}, record {index}"
                _refuse(UserError(where + _not_an_object(record)), unreadable)

    def fingerprint(self, split: str) -> str:
        """Digest of name, version, split and the parameters bound with ``functools.partial``."""
        _check_split(self, split)
        bound: tuple[object, ...] = ()
        if isinstance(self.make, functools.partial):
            bound = (
                *map(repr, self.make.args),
                *(f"{key}={value!r}" for key, value in sorted(self.make.keywords.items())),
            )
        return digest("generated", self.name, self.version, split, *bound)

    def size_hint(self, split: str) -> int:
        """Nothing is read."""
        return 0

    def describe(self) -> str:
        """Name and version."""
        return f"generated {self.name!r} (version {self.version})"


def generated(
    name: str, make: Callable[[str], Sequence[Record]], version: str | int, *, splits: Sequence[str] = SPLITS
) -> GeneratedSource:
    """A source over ``make(split)``, which must return the same records every time.

    Args:
        name: tells generators apart; part of the fingerprint.
        make: split name → records. Parameters are bound with ``functools.partial``, so that
            they become part of the fingerprint.
        version: raised by hand whenever ``make`` returns other records.
        splits: what ``make`` can be asked for.
    """
    return GeneratedSource(name, make, str(version), _known_splits(f"generated {name!r}", splits))


def _known_splits(where: str, splits: Iterable[str]) -> tuple[str, ...]:
    splits = tuple(splits)
    stray = [split for split in splits if split not in SPLITS]
    if stray or not splits:
        raise UserError(f"{where}: splits {list(splits)} must be one or more of {', '.join(SPLITS)}.")
    return tuple(split for split in SPLITS if split in splits)


@dataclasses.dataclass(frozen=True)
class JsonSource:
    """Records in local files, one object a line (``.jsonl``) or one list a file (``.json``)."""

    files: tuple[tuple[str, str], ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have a file."""
        return tuple(split for split, _ in self.files)

    def _path(self, split: str) -> Path:
        _check_split(self, split)
        path = resolve(dict(self.files)[split])
        if not path.is_file():
            raise missing_data(self.describe(), path)
        return path

    def records(self, split: str, unreadable: Unreadable | None = None) -> Iterator[Record]:
        """Yields the objects in the file's order; blank lines are passed over.

        Raises:
            UserError: no such file, a ``.json`` file that is not one list, or, without
                ``unreadable`` to tell, a record that is no JSON object, named by file and line.
        """
        for number, content in self._contents(split):
            try:
                yield _object(content)
            except UserError as error:
                _refuse(UserError(f"{self._place(split, number)}{error}"), unreadable)

    def place(self, split: str, index: int) -> str:
        """Where record ``index`` stands: file and line, or file and position in its list."""
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
    """A source over local files, ``.jsonl`` or ``.json`` lists; relative paths start at the data folder."""
    given = {"train": train, "validation": validation, "test": test}
    files = tuple((split, str(path)) for split, path in given.items() if path is not None)
    _known_splits("jsonl(...)", [split for split, _ in files])
    return JsonSource(files)


def _refuse(error: UserError, unreadable: Unreadable | None) -> None:
    """Tells of a record that cannot be read, or raises where nobody is told."""
    if unreadable is None:
        raise error
    unreadable(error)


def _object(content: Any) -> Record:
    """The record in a line of JSON (bytes), or in an element of a list. Errors begin behind the place."""
    record = _parsed(content) if isinstance(content, bytes) else content
    if isinstance(record, RepeatedKeyError):
        raise _repeated(record)
    if not isinstance(record, Mapping):
        raise UserError(_not_an_object(record))
    return record


def _parsed(line: bytes) -> Any:
    try:
        return decode(line.decode().strip("\ufeff\r\n"))
    except UnicodeDecodeError as error:
        raise UserError(f" is not UTF-8 text (byte {error.start + 1} of the line). Convert the file.") from error
    except json.JSONDecodeError as error:
        raise UserError(
            f": not valid JSON ({error.msg}, column {error.colno}). Correct or remove the record."
        ) from error
    except RepeatedKeyError as error:
        raise _repeated(error) from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of too many digits
        raise UserError(f": JSON that cannot be read ({error}). Correct or remove the record.") from error


def _repeated(error: RepeatedKeyError) -> UserError:
    return UserError(f": {error}. Correct or remove the record.")


def _not_an_object(record: object) -> str:
    return f": a record must be a JSON object, not {type(record).__name__}. Correct or remove the record."


def load_json(path: Path, *, spoiled: bool = False, content: bytes | None = None) -> Any:
    """The content of a JSON file.

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


@dataclasses.dataclass(frozen=True)
class HubSource:
    """A data set of the Hugging Face hub. See ``hf``."""

    name: str
    config: str | None
    revision: str | None
    parts: tuple[tuple[str, str], ...]
    order: Callable[[int], Sequence[int]] | None = None
    """Which rows are read, and in what order, given how many there are; ``None`` for all as they stand."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that were named."""
        return tuple(split for split, _ in self.parts)

    def records(self, split: str, unreadable: Unreadable | None = None) -> Iterator[Record]:
        """Downloads the data set, or finds it in the cache, and yields its rows.

        Raises:
            UserError: the package ``datasets`` is missing, it cannot load the data set, or,
                without ``unreadable`` to tell, it cannot decode a row.
        """
        _check_split(self, split)
        try:
            import datasets
        except ImportError as error:
            raise UserError(
                f"{self.describe()} needs the package 'datasets'. Install it: pip install datasets"
            ) from error
        part = dict(self.parts)[split]
        try:
            with hub_in_reach():
                rows = self._load(datasets, part)
        except (OSError, ValueError, RuntimeError) as error:  # no network, no such data set or split, or a script
            first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"{self.describe()}, split {part!r}: cannot be loaded ({first_line}). Check its name and the network."
            ) from error
        if self.order is not None:
            rows = rows.select(self.order(len(rows)))
        yield from _rows(rows, f"{self.describe()}, split {part!r}", unreadable)

    def _load(self, datasets: Any, part: str) -> Any:
        """The rows of a split; where there is none called ``train``, those of the splits whose names say so."""
        # The branch that the hub converts scripts to has a folder where the script had a configuration.
        converted = self.revision == CONVERTED
        where = {"data_dir" if converted else "name": self.config}
        try:
            return datasets.load_dataset(self.name, split=part, revision=self.revision, **where)
        except ValueError:
            if part != "train":
                raise
            named = {"data_dir" if converted else "config_name": self.config}
            names = datasets.get_dataset_split_names(self.name, revision=self.revision, **named)
            if part in names:
                raise
            trained = trained_splits(names)
            if not trained:
                raise UserError(
                    f"{self.describe()} has no split 'train', and no name of those that it has ({', '.join(names)}) says "
                    "that it is trained on. Name one in Python with instruction_source(…, train='NAME'), or fetch its file."
                ) from None
            left = [name for name in names if name not in trained.split("+")]
            _log.warning(
                "%s has no split 'train': read is %s%s",
                self.describe(),
                trained,
                f", not used: {', '.join(left)}" if left else "",
            )
            return datasets.load_dataset(self.name, split=trained, revision=self.revision, **where)

    def fingerprint(self, split: str) -> str:
        """Digest of name, config, revision and split: a revision pins the content, a branch name does not."""
        _check_split(self, split)
        order = () if self.order is None else (self.order,)
        return digest("hf", self.name, self.config, self.revision, dict(self.parts)[split], *order)

    def describe(self) -> str:
        """Name, config and revision."""
        at = f"@{self.revision}" if self.revision else ""
        return f"Hugging Face data set {self.name!r}{f' ({self.config})' if self.config else ''}{at}"


def _rows(rows: Any, where: str, unreadable: Unreadable | None) -> Iterator[Record]:
    """The rows of a data set. An iterator that failed is at its end, so another goes on behind the bad row."""
    index = 0
    while index < len(rows):
        remaining = iter(rows.select(range(index, len(rows))) if index else rows)
        while index < len(rows):
            try:
                row = next(remaining)
            except Exception as error:  # whatever a feature's decoder raises
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                _refuse(UserError(f"{where}, record {index}: cannot be decoded ({reason})."), unreadable)
                index += 1
                break
            yield row
            index += 1


def hf(
    name: str,
    config: str | None = None,
    *,
    revision: str | None = None,
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
) -> HubSource:
    """A source over a Hugging Face data set; each split is a split expression such as ``train[:1000]``."""
    given = {"train": train, "validation": validation, "test": test}
    parts = tuple((split, part) for split, part in given.items() if part is not None)
    _known_splits(f"hf({name!r})", [split for split, _ in parts])
    return HubSource(name, config, revision, parts)
