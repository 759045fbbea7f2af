"""Files and folders that are there whole or not at all, and the words for a file system that takes no more.

What is being written has a hidden name beside its own, which says the machine and the process that write it; it is
brought to the disk (fsync) before it gets its name. What a killed process left is removed by the next one that writes
there. Standard library only; every layer may import it.
"""

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from flan_jax.errors import UserError

_SAYS = {
    errno.ENOSPC: "there is no space left",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "a file would be larger than this file system or the process's limit allows",
    errno.EACCES: "it may not be written to",
    errno.EPERM: "it may not be written to",
    errno.EROFS: "it may only be read",
    errno.EIO: "the device fails",
}
"""What a file system says that is no fault of the program's."""
_REMEDY = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EFBIG: "Raise the limit, or choose another place",
}
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<host>[^.]+)\.(?P<pid>\d+)\.[0-9a-f]{8}\.tmp")
_ABANDONED_AFTER_S = 24 * 3600
"""Of another machine's process nobody here knows whether it lives; what it has not touched for so long is left over."""


class WritingError(UserError):
    """A file system that takes no more, in one sentence; nothing half-written is left."""


def atomic_write_text(path: Path, text: str, *, errors: str = "strict") -> None:
    """Writes a text file (UTF-8) whole or not at all; makes its folder where it is not there.

    Args:
        path: of the file.
        text: its content.
        errors: what becomes of characters that UTF-8 does not have, as in ``str.encode``.

    Raises:
        WritingError: the file system takes no more.
    """
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(text.encode("utf-8", errors))


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a path beside ``path`` to write a file to, which gets that name at the end.

    Raises:
        WritingError: the file system takes no more.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        temporary = path.with_name(temporary_name(path.name))
        try:
            yield temporary
            synced(temporary)
            os.replace(temporary, path)
            synced(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yields a new folder beside ``path`` to write into, which gets that name at the end.

    A folder that stands there is replaced: it is moved aside first, so that no reader meets it half-deleted.

    Raises:
        WritingError: the file system takes no more.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        temporary, aside = (path.with_name(temporary_name(path.name)) for _ in range(2))
        try:
            temporary.mkdir()
            yield temporary
            sync_tree(temporary)
            with contextlib.suppress(FileNotFoundError):
                os.replace(path, aside)
            os.replace(temporary, path)
            synced(path.parent)
        finally:
            for folder in (temporary, aside):
                shutil.rmtree(folder, ignore_errors=True)


def check_new_dir(destination: Path) -> None:
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
def new_dir(destination: Path) -> Iterator[Path]:
    """Yields a folder beside ``destination`` to write into, which gets that name at the end.

    Raises:
        UserError: the destination is there, cannot be made, or the file system takes no more.
    """
    check_new_dir(destination)
    with atomic_dir(destination) as written:
        yield written


def temporary_name(name: str) -> str:
    """A hidden name for ``name`` while it is written: it says by whom, and no other writer takes it."""
    return f".{name[:48]}.{_host()}.{os.getpid()}.{secrets.token_hex(4)}.tmp"  # a name may have 255 bytes


def remove_leftovers(folder: Path) -> None:
    """Removes what processes that were killed left half-written in a folder; what a living one writes stays."""
    for left in folder.glob(".*.tmp"):
        found = _TEMPORARY.fullmatch(left.name)
        if found is None or not _is_abandoned(left, found["host"], int(found["pid"])):
            continue
        with contextlib.suppress(OSError):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()


def _is_abandoned(left: Path, host: str, pid: int) -> bool:
    if host == _host():
        return not is_alive(pid)
    with contextlib.suppress(OSError):
        # A folder's own time stands still while a file in it grows.
        newest = max(path.stat().st_mtime for path in (left, *left.rglob("*")))
        return time.time() - newest > _ABANDONED_AFTER_S
    return False


def is_alive(pid: int) -> bool:
    """Tells whether a process of this machine has this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:24] or "unnamed"


def synced(path: Path) -> None:
    """Brings a file, or a folder's list of names, to the disk; where a file system has no such call, nothing."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES):
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Brings all files and folders in ``folder``, and itself, to the disk."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            synced(Path(root, name))
        synced(Path(root))


@contextlib.contextmanager
def writing(path: Path | str, kept: str = "") -> Iterator[None]:
    """Says in one sentence what was being written where a file system takes no more; other errors pass.

    Args:
        path: what is being written.
        kept: a sentence on what is there all the same.

    Raises:
        WritingError: there is no space, no right to write, or the device fails.
    """
    try:
        yield
    except Exception as error:
        found = None if isinstance(error, UserError) else refusal(error)
        if found is None:
            raise
        raise WritingError(sentence(found, path, kept)) from error


def sentence(code: int, path: Path | str, kept: str = "") -> str:
    """Puts an error of writing into a sentence: what, why, what is left and what to do."""
    left = kept or "Nothing half-written is left of it."
    remedy = _REMEDY.get(code, "Choose a place that may be written to")
    return f"{str(path)!r} cannot be written: {_SAYS[code]}. {left} {remedy}, and run the same command again."


def refused(error: BaseException) -> str | None:
    """Puts an error that nobody foresaw into a sentence, where a file system is the reason for it; else None."""
    code = refusal(error)
    if code is None:
        return None
    named = next((item.filename for item in _chain(error) if isinstance(item, OSError) and item.filename), None)
    what = "A file" if named is None else repr(os.fsdecode(named)) if isinstance(named, str | bytes) else repr(named)
    if code in (errno.EACCES, errno.EPERM):
        return f"{what} may not be read or written by this user. Choose another place, or ask for the right to it."
    return f"{what} cannot be read or written: {_SAYS[code]}. {_REMEDY.get(code, 'Choose another place')}, and run the same command again."


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it came from."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__


def refusal(error: BaseException) -> int | None:
    """The number of what a file system said, if that is why an error was raised; else None.

    Libraries that write by other means put the number, or its words, into a text, or raise from one that does.
    """
    for found in _chain(error):
        if isinstance(found, OSError) and found.errno in _SAYS:
            return found.errno
        if isinstance(found, UserError):
            continue
        text = str(found)
        for code in _SAYS:
            if any(mark.format(code) in text for mark in ("[os_error_code='{}']", "[Errno {}]", "[errno {}]")):
                return code
        if os.strerror(errno.ENOSPC) in text:
            return errno.ENOSPC
    return None
