"""Origins of published records: local files (``LocalFile``) or a split of a data set of the hub (``HubPart``)."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from flan_jax.data.file_readers.compressed import COMPRESSION_SUFFIXES, stem_of
from flan_jax.data.file_readers.folder_files import FolderFiles, FolderPart, folder_files
from flan_jax.data.file_readers.records import number_unit, numbered_records, records_at
from flan_jax.data.file_readers.suffixes import SUFFIXES, suffix_of
from flan_jax.data.formats.record_format import Numbered
from flan_jax.data.sources.base import digest, file_digest, missing_data, resolve
from flan_jax.data.sources.hub import HubSource
from flan_jax.errors import UserError

_HUB_NAME = re.compile(r"(?P<name>[\w-][\w.-]*(/[\w.-]+)?)(:(?P<config>[\w.-]+))?(@(?P<revision>[\w./-]+))?", re.ASCII)
_FILE = 1 << 40
"""Numbers of records count from a multiple of it in every file."""


@dataclasses.dataclass(frozen=True)
class LocalFile:
    """A file of records, or several that are read one behind the other.

    Attributes:
        path: the first.
        more: the others, in order.
    """

    path: Path
    more: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files, in order."""
        return (self.path, *self.more)

    def state(self) -> tuple[int, ...]:
        """Sizes and modification times: they change when the content may have."""
        stats = [path.stat() for path in self.paths]
        return tuple(value for stat in stats for value in (stat.st_size, stat.st_mtime_ns))

    def numbered(self, only: Sequence[int] | None = None) -> Iterator[Numbered]:
        """Yields the records with their numbers; only those with the numbers ``only``, where they are given."""
        for index, path in enumerate(self.paths):
            begin = index * _FILE
            if only is None:
                own = numbered_records(path)
            else:
                wanted = [number - begin for number in only if begin <= number < begin + _FILE]
                own = records_at(path, wanted) if wanted else iter(())
            if begin:
                own = ((number + begin, record) for number, record in own)
            yield from own

    def place(self, number: int) -> str:
        """Names file and line, or file and position in its list."""
        path = self.paths[number // _FILE]
        return f"{path}, {number_unit(path)} {number % _FILE}"

    def fingerprint(self) -> str:
        """Digests the content; hexadecimal."""
        return file_digest(self.path) if not self.more else digest("files", *map(file_digest, self.paths))

    def size_hint(self) -> int | None:
        """Returns the bytes of the files."""
        return sum(path.stat().st_size for path in self.paths)

    @property
    def name(self) -> str:
        """The file's name, without suffixes."""
        return stem_of(self.path)


@dataclasses.dataclass(frozen=True)
class HubPart:
    """A split of a data set of the hub."""

    source: HubSource
    split: str

    def state(self) -> tuple[int, ...]:
        """Nothing: the revision pins the content."""
        return ()

    def numbered(self, only: Sequence[int] | None = None) -> Iterator[Numbered]:
        """Yields the rows with their numbers from 0; only those with the numbers ``only``, where they are given."""
        rows = self.source.read(self.split)
        if only is None:
            return rows
        wanted = frozenset(only)
        return (numbered for numbered in rows if numbered[0] in wanted)

    def place(self, number: int) -> str:
        """Names data set, split and row."""
        return f"{self.source.describe()}, split {dict(self.source.parts)[self.split]!r}, record {number}"

    def fingerprint(self) -> str:
        """Digests name, configuration, revision and split; hexadecimal."""
        return self.source.fingerprint(self.split)

    def size_hint(self) -> int | None:
        """``None``: the size is not known before the data set is fetched."""
        return None

    @property
    def name(self) -> str:
        """The data set's name without its owner."""
        return self.source.name.rpartition("/")[2]


Origin = LocalFile | HubPart


def origins(place: str, parts: tuple[tuple[str, str], ...] = (), part: str | None = None) -> dict[str, Origin]:
    """Finds the origin of each split.

    Args:
        place: a file; a folder whose files are one task (``flan_jax.data.file_readers.folder_files``); or ``OWNER/NAME``,
            ``OWNER/NAME:CONFIG`` or ``OWNER/NAME@REVISION`` of the hub.
        parts: (split, split expression) pairs for the hub; its ``train`` when there are none.
        part: of a folder of several tasks, the name of one.

    Raises:
        UserError: no such file, a folder with none or with others, or no name of a data set.
    """
    path = resolve(place)
    if path.is_dir():
        return {split: local_file(files) for split, files in _select_part(path, part).splits.items()}
    if path.is_file():
        return {"train": LocalFile(path)}
    found = _HUB_NAME.fullmatch(place)
    is_file_name = place.lower().endswith(COMPRESSION_SUFFIXES) or suffix_of(Path(place)) in SUFFIXES
    if found is None or is_file_name:
        raise missing_data("Instruction data", path)
    source = HubSource(found["name"], found["config"], found["revision"], parts or (("train", "train"),))
    return {split: HubPart(source, split) for split in source.splits}


def local_file(files: Sequence[Path]) -> LocalFile:
    """Makes one origin of files that are read one behind the other."""
    return LocalFile(files[0], tuple(files[1:]))


def _select_part(folder: Path, part: str | None) -> FolderPart:
    """Selects the one task of a folder, or the one of that name."""
    found = folder_files(folder)
    if part is not None:
        named = [one for one in found.parts if one.name == part]
        if not named:
            raise UserError(f"{folder} has no files of {part!r} any more. Name another folder.")
        return named[0]
    if len(found.parts) == 1:
        return found.parts[0]
    whole = [one for one in found.parts if not one.name and "train" in one.splits]
    if whole:
        return whole[0]
    raise no_single_task(folder, found)


def no_single_task(folder: Path, found: FolderFiles) -> UserError:
    """Makes the error of a folder that holds no task, or several."""
    files = [path for one in found.parts for own in one.splits.values() for path in own]
    have = ", ".join(str(path.relative_to(folder)) for path in files[:5]) + (", …" if len(files) > 5 else "")
    what = f"{len(files)} files of records ({have})" if files else "no file of records"
    not_read = "".join(f" Not read: {one.path.relative_to(folder)} ({one.reason})." for one in found.unused[:5])
    return UserError(
        f"{folder} holds {what}. Name one file, or call the files after their splits: train.jsonl, validation.jsonl, "
        f"test.jsonl.{not_read}"
    )
