"""The tasks and splits that the files of a folder make up, and the files that are not read."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from flan_jax.data.sources.split_names import SplitName
from flan_jax.errors import UserError

MAX_DEPTH = 8
"""Nested folders that are looked into at most."""


@dataclasses.dataclass(frozen=True)
class FolderPart:
    """The files of one task.

    Attributes:
        name: what their names share beside the split; ``""`` where the folder is one task.
        splits: split → its files, in order.
        named: whether their names say their splits.
    """

    name: str
    splits: Mapping[str, tuple[Path, ...]]
    named: bool = True


@dataclasses.dataclass(frozen=True)
class Unused:
    """A file or folder that is not read.

    Attributes:
        path: where it lies.
        reason: why it is not read.
    """

    path: Path
    reason: str


@dataclasses.dataclass(frozen=True)
class FolderFiles:
    """The files that a folder holds.

    Attributes:
        parts: the tasks, those whose names say a split first.
        unused: what is not read.
    """

    parts: tuple[FolderPart, ...]
    unused: tuple[Unused, ...]

    @property
    def trained(self) -> tuple[FolderPart, ...]:
        """The parts that have something to train on."""
        return tuple(part for part in self.parts if "train" in part.splits)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A file that may hold records, and what its name says."""

    path: Path
    said: SplitName


def entries(folder: Path) -> list[Path]:
    """Lists a folder.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}). Allow it, or name another folder.") from error


def natural_sort_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Returns a sort key under which numbers in a name count as numbers: ``part2`` before ``part10``."""
    pieces = re.split(r"(\d+)", str(path))
    return tuple((1, int(piece), "") if piece.isdecimal() else (0, 0, piece) for piece in pieces if piece)


def check_complete(files: Sequence[Candidate]) -> None:
    """Refuses the shards of a split of which one is missing.

    Raises:
        UserError: which one.
    """
    shards = files[0].said.shards
    if shards is not None:
        there = {one.said.number for one in files}
        wanted = range(1, shards + 1) if shards in there else range(shards)
        if missing := [number for number in wanted if number not in there]:
            first = files[0].path
            shown = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
            raise UserError(
                f"{first.parent}: {first.name} is one of {shards} files, and {len(missing)} of them "
                f"{'is' if len(missing) == 1 else 'are'} not there (number {shown}). Fetch what is missing."
            )
