"""Where published records lie: a local file, or a split of a data set of the hub."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from flan_jax.data.formats.reading import SUFFIXES, counted_by, is_data_file, numbered_records, records_at
from flan_jax.data.formats.record_format import Numbered
from flan_jax.data.sources import SPLITS, HubSource, file_digest, missing_data, resolve
from flan_jax.errors import UserError

_HUB_NAME = re.compile(r"(?P<name>[\w-][\w.-]*(/[\w.-]+)?)(:(?P<config>[\w.-]+))?(@(?P<revision>[\w./-]+))?", re.ASCII)
_STEMS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}


@dataclasses.dataclass(frozen=True)
class LocalFile:
    """A file of records."""

    path: Path

    def state(self) -> tuple[int, ...]:
        """Changes when the content may have."""
        stat = self.path.stat()
        return (stat.st_size, stat.st_mtime_ns)

    def numbered(self, only: Sequence[int] | None = None) -> Iterator[Numbered]:
        """The records with their numbers; those with these numbers, in order, where they are given."""
        return numbered_records(self.path) if only is None else records_at(self.path, only)

    def place(self, number: int) -> str:
        """File and line, or file and position in its list."""
        return f"{self.path}, {counted_by(self.path)} {number}"

    def fingerprint(self) -> str:
        """Digest of the content."""
        return file_digest(self.path)

    def size_hint(self) -> int | None:
        """Bytes."""
        return self.path.stat().st_size

    @property
    def name(self) -> str:
        """What the file is called, without suffixes."""
        stem = self.path.stem
        return Path(stem).stem if self.path.suffix == ".gz" else stem


@dataclasses.dataclass(frozen=True)
class HubPart:
    """A split of a data set of the hub."""

    source: HubSource
    split: str

    def state(self) -> tuple[int, ...]:
        """The revision says what the content is."""
        return ()

    def numbered(self, only: Sequence[int] | None = None) -> Iterator[Numbered]:
        """The rows with their numbers from 0; those with these numbers, where they are given."""
        if only is None:
            return self._rows()
        wanted = frozenset(only)
        return (numbered for numbered in self._rows() if numbered[0] in wanted)

    def _rows(self) -> Iterator[Numbered]:
        waiting: list[UserError] = []
        number = 0
        for row in self.source.records(self.split, waiting.append):
            for error in waiting:
                yield number, error
                number += 1
            waiting.clear()
            yield number, row
            number += 1
        for error in waiting:
            yield number, error
            number += 1

    def place(self, number: int) -> str:
        """Data set, split and row."""
        return f"{self.source.describe()}, split {dict(self.source.parts)[self.split]!r}, record {number}"

    def fingerprint(self) -> str:
        """As the hub's."""
        return self.source.fingerprint(self.split)

    def size_hint(self) -> int | None:
        """Nothing is known before it is fetched."""
        return None

    @property
    def name(self) -> str:
        """The data set's name without its owner."""
        return self.source.name.rpartition("/")[2]


Origin = LocalFile | HubPart


def origins(place: str, parts: tuple[tuple[str, str], ...] = ()) -> dict[str, Origin]:
    """Split → where its records lie.

    Args:
        place: a file; a folder with one file for each of train, validation and test, or with one file;
            or ``OWNER/NAME``, ``OWNER/NAME:CONFIG`` or ``OWNER/NAME@REVISION`` of the hub.
        parts: (split, split expression) pairs for the hub; its ``train`` when there are none.

    Raises:
        UserError: no such file, a folder with none or with others, or no name of a data set.
    """
    path = resolve(place)
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        return {"train": LocalFile(path)}
    found = _HUB_NAME.fullmatch(place)
    is_file_name = place.lower().removesuffix(".gz").endswith(SUFFIXES)
    if found is None or is_file_name:
        raise missing_data("Instruction data", path)
    source = HubSource(found["name"], found["config"], found["revision"], parts or (("train", "train"),))
    return {split: HubPart(source, split) for split in source.splits}


def data_files(folder: Path) -> list[Path]:
    """The files in a folder that may hold records, by name."""
    return sorted(path for path in folder.iterdir() if is_data_file(path))


def split_files(folder: Path) -> dict[str, Path]:
    """Split → its file, for the files that are named after a split.

    Raises:
        UserError: two files for one split.
    """
    named: dict[str, Path] = {}
    for path in data_files(folder):
        stem = LocalFile(path).name.lower()
        for split in SPLITS:
            if stem in _STEMS[split]:
                if split in named:
                    raise UserError(
                        f"{folder} has two files for {split!r}: {named[split].name} and {path.name}. Remove one."
                    )
                named[split] = path
    return {split: named[split] for split in SPLITS if split in named}


def _in_folder(folder: Path) -> dict[str, Origin]:
    named = split_files(folder)
    files = data_files(folder)
    if named:
        return {split: LocalFile(path) for split, path in named.items()}
    if len(files) == 1:
        return {"train": LocalFile(files[0])}
    have = ", ".join(path.name for path in files[:5]) + (", …" if len(files) > 5 else "")
    raise UserError(
        f"{folder} holds {f'{len(files)} files of records ({have})' if files else 'no file of records'}. "
        "Name one file, or call the files after their splits: train.jsonl, validation.jsonl, test.jsonl."
    )
