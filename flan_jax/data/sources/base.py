"""The base of sources: the data folder that relative paths start from, digests, checks of split names.

The folder is looked up when a record is asked for, never at import.
"""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

from flan_jax.errors import UserError
from flan_jax.tasks.source import Source

T = TypeVar("T")

SPLITS = ("train", "validation", "test")
DATA_DIR_VARIABLE = "FLAN_JAX_DATA_DIR"
_chosen_data_dir: Path | None = None


def set_data_dir(path: str | Path | None) -> None:
    """Chooses the data folder for this process; ``None`` goes back to the environment."""
    global _chosen_data_dir
    _chosen_data_dir = Path(path).expanduser() if path else None


def data_dir() -> Path:
    """Returns the folder that relative paths start from: chosen, else FLAN_JAX_DATA_DIR, else the working directory."""
    return _chosen_data_dir or Path(os.environ.get(DATA_DIR_VARIABLE) or ".").expanduser()


def resolve(path: str | Path) -> Path:
    """Returns ``path`` itself when it is absolute, else below the data folder."""
    return data_dir() / Path(path).expanduser()


def missing_data(what: str, path: Path) -> UserError:
    """Returns the error for data that is not where it should be."""
    folder = data_dir()
    here = path.relative_to(folder) if path.is_relative_to(folder) else path
    if not here.is_absolute() and here != path and here.exists():
        remedy = f"It is there in the working folder: write its whole path, {str(here.absolute())!r}."
    else:
        remedy = f"Set the DATA_DIR of the run, or {DATA_DIR_VARIABLE}, to the folder that holds it."
    return UserError(f"{what}: {str(path)!r} does not exist (the data folder is {str(folder)!r}). {remedy}")


def check_split(source: Source, split: str) -> None:
    """Refuses a split that ``source`` does not have.

    Raises:
        UserError: names the splits that it has.
    """
    if split not in source.splits:
        raise UserError(f"{source.describe()} has no split {split!r}. It has: {', '.join(source.splits) or 'none'}.")


def digest(*parts: object) -> str:
    """Digests the printed parts; hexadecimal SHA-256."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Digests a file's content, read again only when the file changed; hexadecimal SHA-256."""
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


def known_splits(where: str, splits: Iterable[str]) -> tuple[str, ...]:
    """Returns ``splits`` in the order of ``SPLITS``.

    Args:
        where: begins the error.
        splits: the names that a user gave.

    Raises:
        UserError: none, or a name that is not in ``SPLITS``.
    """
    splits = tuple(splits)
    stray = [split for split in splits if split not in SPLITS]
    if stray or not splits:
        raise UserError(f"{where}: splits {list(splits)} must be one or more of {', '.join(SPLITS)}.")
    return tuple(split for split in SPLITS if split in splits)
