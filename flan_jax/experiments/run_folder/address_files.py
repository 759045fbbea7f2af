"""The files at an address where runs are kept: read, written and tried again, and what goes wrong in one sentence."""

import contextlib
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from fsspec.implementations.local import LocalFileSystem

from flan_jax import files
from flan_jax.errors import UserError
from flan_jax.store.manifest import digest_of_file
from flan_jax.store.remote import connect

PAUSE_S = 0.5
"""Before the second attempt; doubled before each further one."""
_ATTEMPTS = 5
_BUCKETS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "ocilake", "tos", "tosfs"}
"""Protocols of stores that have no folders but buckets, which are made on purpose and not by a slip of the pen."""
_HOPELESS = re.compile(r"Credential|Unauthorized|Forbidden|RefreshError|AuthenticationError|TokenError")
"""In the name of an error: the next attempt would end as this one did."""
_SECRET = re.compile(r"(?i)\?\S+|//[^/@\s]*@|\b(?:sig|token|secret|password|key|credential)\w*\s*[=:]\s*\S+")
T = TypeVar("T")


def shown_address(url: str) -> str:
    """Returns an address as messages show it: without user and password."""
    return re.sub(r"//[^/@]*@", "//", url.rstrip("/"))


class AddressFiles:
    """The files below one address.

    Args:
        url: an fsspec address, or a folder; options of a protocol come from fsspec's own configuration.
        what: lies there, for errors.
        pause_s: seconds before what failed is tried again.

    Raises:
        UserError: a protocol that is not known or not installed.
    """

    def __init__(self, url: str, what: str, *, pause_s: float = PAUSE_S) -> None:
        url = url if "://" in url else Path(url).expanduser().absolute().as_uri()
        self.shown = shown_address(url)
        self._files, path = connect(url, self.shown, what)
        self._root, self._pause_s = path.rstrip("/"), pause_s
        self._has_buckets = "::" not in url and url.partition("://")[0] in _BUCKETS

    def read(self, *names: str) -> bytes:
        """Returns the content of a file.

        Raises:
            FileNotFoundError: there is none.
            UserError: it cannot be read.
        """

        def read() -> bytes:
            self._files.invalidate_cache()  # others write there too
            content: bytes = self._files.cat_file(self._path(*names))
            return content

        return self._tried("read", names, read)

    def names(self, *folder: str) -> list[str]:
        """Lists what lies in a folder, by name; nothing where there is none, or where an address has no lists.

        Raises:
            UserError: it cannot be read.
        """

        def listed() -> list[str]:
            self._files.invalidate_cache()
            try:
                found = self._files.ls(self._path(*folder), detail=False)
            except (FileNotFoundError, NotImplementedError):
                return []
            return sorted({path.rstrip("/").rpartition("/")[2] for path in found})

        return self._tried("read", folder, listed)

    def write(self, content: str, *names: str) -> None:
        """Writes a file, whole or not at all.

        Raises:
            UserError: the address takes nothing.
        """

        def write() -> None:
            if isinstance(self._files, LocalFileSystem):  # which writes into the file that stands there
                files.atomic_write_text(Path(self._path(*names)), content)
            else:
                self._files.pipe_file(self._path(*names), content.encode())

        self._written(names, write)

    def put(self, path: Path, *names: str) -> None:
        """Writes a file with the content of a local one.

        Raises:
            UserError: the address takes nothing.
        """
        if not path.is_file():
            raise FileNotFoundError(path)
        self._written(names, lambda: self._files.put_file(str(path), self._path(*names)))

    def fetch(self, digest: str, path: Path, *names: str) -> None:
        """Writes a local file with the content of one there, which must have a digest.

        Raises:
            FileNotFoundError: there is none.
            UserError: it cannot be read, or has another digest.
        """

        def fetch() -> None:
            self._files.get_file(self._path(*names), str(path))
            if digest_of_file(path) != digest:
                raise OSError(f"what came is not what was written: {os.path.getsize(path)} bytes")

        self._tried("read", names, fetch)

    def remove(self, *names: str) -> None:
        """Deletes a file, where it can be: it takes space, and is in nobody's way."""
        with contextlib.suppress(Exception):
            self._files.rm_file(self._path(*names))

    def _path(self, *names: str) -> str:
        return "/".join((self._root, *names))

    def _written(self, names: Sequence[str], action: Callable[[], None]) -> None:
        def write() -> None:
            if not self._has_buckets:  # of these, it would make the bucket
                self._files.makedirs(self._path(*names[:-1]).rstrip("/"), exist_ok=True)
            try:
                action()
            except FileNotFoundError as error:
                bucket = self._root.strip("/").split("/")[0]
                raise UserError(
                    f"{self.shown} cannot be written: there is no bucket {bucket!r}. Make it, or check its name."
                    if self._has_buckets
                    else f"{'/'.join((self.shown, *names))} cannot be written: there is no such folder. Check the address."
                ) from error

        self._tried("write", names, write)

    def _tried(self, verb: Literal["read", "write"], names: Sequence[str], action: Callable[[], T]) -> T:
        """Does something once that succeeds, after a pause where it did not; says in a sentence that it never did.

        Each file system has errors of its own (of HTTP, of credentials), which share no base but Exception.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return action()
            except (UserError, FileNotFoundError):
                raise
            except Exception as error:
                if attempt == _ATTEMPTS or _is_hopeless(error):
                    raise self._error(verb, names, attempt, error) from error
                time.sleep(self._pause_s * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    def _error(self, verb: str, names: Sequence[str], attempts: int, error: Exception) -> UserError:
        said = _without_secrets(str(error).strip().split("\n")[0])
        tried = f", tried {attempts} times" if attempts > 1 else ""
        return UserError(
            f"{'/'.join((self.shown, *names))} cannot be {'read' if verb == 'read' else 'written'}{tried} "
            f"({type(error).__name__}{': ' if said else ''}{said}). Check the address, the network and your credentials."
        )


def _is_hopeless(error: Exception) -> bool:
    return isinstance(error, PermissionError) or bool(_HOPELESS.search(type(error).__name__))


def _without_secrets(text: str) -> str:
    """Returns what a library says without what it may say of credentials: signed addresses, passwords, keys."""
    return _SECRET.sub("…", text)
