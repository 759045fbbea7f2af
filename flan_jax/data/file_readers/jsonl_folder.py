"""A source of a folder of JSON lines: every file in it, in the order of their names."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from flan_jax.data.file_readers.compressed import compression_of
from flan_jax.data.file_readers.folder_files import folder_files, natural_sort_key
from flan_jax.data.file_readers.suffixes import suffix_of, why_no_records
from flan_jax.data.sources.base import SPLITS, digest, missing_data, resolve
from flan_jax.data.sources.json_files import JsonSource, jsonl
from flan_jax.errors import UserError
from flan_jax.tasks.source import NumberedRecord, Source


@dataclasses.dataclass(frozen=True)
class FolderSource(Source):
    """The records of a folder's ``*.jsonl``; a relative folder starts at the data folder.

    Files whose names say a split (``flan_jax.data.sources.split_names``) are that split. All others are trained on, one
    after the other.
    """

    folder: str

    def exists(self) -> bool:
        """Tells whether there is anything to train on."""
        return bool(self._files("train"))

    @property
    def splits(self) -> tuple[str, ...]:
        """``train``, and the splits that have a file."""
        return tuple(split for split in SPLITS if split == "train" or self._files(split))

    def _files(self, split: str) -> list[Path]:
        folder = resolve(self.folder)
        found = folder_files(folder, _why_no_lines, together=True).parts if folder.is_dir() else ()
        return sorted((path for part in found for path in part.splits.get(split, ())), key=natural_sort_key)

    def _sources(self, split: str) -> list[JsonSource]:
        if split not in self.splits:
            raise UserError(f"{self.describe()} has no split {split!r}. It has: {', '.join(self.splits)}.")
        files = self._files(split)
        if not files:
            raise missing_data(f"{self.describe()} (a file *.jsonl in it)", resolve(self.folder) / "*.jsonl")
        return [jsonl(train=path.absolute()) for path in files]

    def read(self, split: str) -> Iterator[NumberedRecord]:
        """Yields the records, file by file.

        Raises:
            UserError: no file.
        """
        return enumerate(record for source in self._sources(split) for _, record in source.read("train"))

    def place(self, split: str, index: int) -> str:
        """File and line of record ``index``."""
        for source in self._sources(split):
            count = source.count("train")
            if index < count:
                return source.place("train", index)
            index -= count
        return f"{self.describe()}, split {split!r}"

    def count(self, split: str) -> int | None:
        """The number of records, unreadable ones among them; ``None`` where no file is there."""
        return sum(source.count("train") for source in self._sources(split)) if self._files(split) else None

    def fingerprint(self, split: str) -> str:
        """Digest of the files' content, in order; their names are no part of it."""
        return digest("folder", *(source.fingerprint("train") for source in self._sources(split)))

    def size_hint(self, split: str) -> int:
        """Bytes of the files."""
        return sum(source.size_hint("train") for source in self._sources(split))

    def describe(self) -> str:
        """The folder."""
        return f"folder {self.folder!r}"


def _why_no_lines(path: Path) -> str:
    """Only files of lines are read here."""
    why = why_no_records(path)
    return why or ("" if suffix_of(path) == ".jsonl" and not compression_of(path) else "it is no .jsonl file")
