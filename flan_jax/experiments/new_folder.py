"""A folder that has its name when all of it is written, and leaves nothing where that fails."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from flan_jax.errors import UserError

_NOT_OURS = {
    errno.ENOSPC: "there is no space left",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "a file would be larger than this file system allows",
    errno.EACCES: "it may not be written to",
    errno.EPERM: "it may not be written to",
    errno.EROFS: "it may only be read",
    errno.EIO: "the device fails",
}
"""What a file system says that is no fault of the program's."""


def check_free(destination: Path) -> None:
    """Raises a UserError where a folder that is to be made is there already, or cannot be made."""
    if destination.is_dir() and not any(destination.iterdir()):
        destination.rmdir()  # an empty folder is as good as none
    if destination.exists():
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
    written = destination.with_name(f".{destination.name}.part")
    try:
        try:
            shutil.rmtree(written, ignore_errors=True)
            written.mkdir(parents=True)
        except OSError as error:
            raise UserError(
                f"{str(destination)!r} cannot be made ({error.strerror}). Choose a folder you may write to."
            ) from error
        yield written
        os.replace(written, destination)
    except BaseException as error:
        shutil.rmtree(written, ignore_errors=True)
        reason = _reason(error)
        if reason is None:
            raise
        raise UserError(
            f"{str(destination)!r} cannot be written: {reason}. Nothing is left of it; choose another place."
        ) from error


def _reason(error: BaseException) -> str | None:
    """What the file system said; checkpoints are written by a library that puts the number into a text."""
    if isinstance(error, OSError):
        return _NOT_OURS.get(error.errno or 0)
    if isinstance(error, ValueError):
        return next((text for code, text in _NOT_OURS.items() if f"[os_error_code='{code}']" in str(error)), None)
    return None
