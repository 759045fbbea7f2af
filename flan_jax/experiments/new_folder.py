"""A folder that has its name when all of it is written, and leaves nothing where that fails."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from flan_jax.errors import UserError
from flan_jax.files import atomic_dir


def check_free(destination: Path) -> None:
    """Raises a UserError where a folder that is to be made is there already, or cannot be made."""
    if destination.is_dir() and destination.samefile("."):
        raise UserError(f"{str(destination)!r} is the folder that you are in. Name one that is not there yet.")
    empty = destination.is_dir() and not destination.is_symlink() and not any(destination.iterdir())  # as good as none
    if os.path.lexists(destination) and not empty:
        raise UserError(f"{str(destination)!r} exists. Name a folder that does not, or remove it first.")
    parent = next(folder for folder in destination.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(f"{str(destination)!r} cannot be made in {str(parent)!r}. Choose a folder you may write to.")


@contextlib.contextmanager
def new_folder(destination: Path) -> Iterator[Path]:
    """Yields a folder beside ``destination`` to write into, which gets that name at the end.

    Raises:
        UserError: the destination is there, cannot be made, or the file system takes no more.
    """
    check_free(destination)
    with atomic_dir(destination) as written:
        yield written
