"""The backend of a store behind an fsspec address: an object store, or another machine.

Such places cannot rename a folder in one step. A task exists where its manifest does, and that is
written last: folders without one are half-written, are never read, and are deleted after a day. Two
writers of one task write equal files, so neither harms the other.

Files are fetched into the cache of this machine (``flan_jax.store.cache``), where they are named by
their checksums, and mapped from there. Options of a protocol come from fsspec's own configuration.
"""

import contextlib
import dataclasses
import datetime
import errno
import hashlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec

from flan_jax.errors import UserError, unknown
from flan_jax.store.backend import TaskKey
from flan_jax.store.cache import (
    cache_folder,
    cache_write_error,
    cached_file,
    checksum_cache,
    is_abandoned,
    put_bytes,
    put_file,
    staging,
)
from flan_jax.store.checksum_cache import Verify, file_state_digest
from flan_jax.store.manifest import (
    ARROW_FILE,
    MANIFEST_FILE,
    REBUILD_HINT,
    DamagedError,
    check_digest,
    check_size,
    digest_of,
    digest_of_file,
    parse_manifest,
)

# By these, whichever of them a listing has, one version of a file differs from the next.
_VERSIONS = (
    "etag", "ETag", "generation", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified", "updated",
    "modificationTime", "created",
)  # fmt: skip
_ATTEMPTS = 4
_EXTRAS = {"s3fs": "s3", "gcsfs": "gcs"}
"""The packages of protocols that an extra of ours installs."""


class FsspecBackend:
    """An fsspec address; implements ``flan_jax.store.backend.StoreBackend``.

    Raises:
        UserError: a protocol that is not known or not installed.
    """

    remote = True

    def __init__(self, url: str) -> None:
        self.url = url
        self._redacted_url = re.sub(r"//[^/@]*@", "//", url)  # without a password
        self._shared, path = connect(url, self._redacted_url)
        self._root = path.rstrip("/")
        self._thread_local = threading.local()

    def __reduce__(self) -> tuple[type["FsspecBackend"], tuple[str]]:
        return FsspecBackend, (self.url,)

    @property
    def _files(self) -> Any:
        """The file system of this thread: only asynchronous ones may be shared."""
        if self._shared.async_impl:
            return self._shared
        if not hasattr(self._thread_local, "files"):
            self._thread_local.files, _ = connect(self.url, self._redacted_url)
        return self._thread_local.files

    def address(self, *names: str) -> str:
        """An address below the store."""
        base = self._redacted_url if self._redacted_url.endswith("://") else self._redacted_url.rstrip("/") + "/"
        return base + "/".join(names) if names else self._redacted_url

    def local_root(self) -> Path:
        """Raises: no folder of this machine holds the store."""
        raise ValueError(f"The store {self.address()} is no folder of this machine.")

    def folder(self, key: TaskKey) -> "_RemoteFolder":
        """The folder of a task."""
        return _RemoteFolder(self, key)

    def read(self, key: TaskKey, verify: Verify) -> dict[str, Any]:
        """Reads the manifest and compares the listing with it."""
        listing = self._listing(key)
        if MANIFEST_FILE not in listing:
            raise FileNotFoundError(errno.ENOENT, "not there, or not finished", self.address(*key))
        manifest = parse_manifest(self._manifest_bytes(key, listing[MANIFEST_FILE]), self.address(*key, MANIFEST_FILE))
        for name, entry in manifest["files"].items():
            where = self.address(*key, name)
            if name not in listing:
                raise DamagedError(f"Store file {where} is missing. {REBUILD_HINT}")
            if listing[name].get("size") is not None:
                check_size(where, entry, listing[name]["size"])
        if verify == "always":
            self._verify(key, manifest)
        return manifest

    def fingerprints(self, name: str, split: str) -> list[str]:
        """Lists the folders of a split that have a manifest."""
        return [folder[-1] for folder, files in self._find(name, split).items() if MANIFEST_FILE in files]

    def splits(self) -> list[tuple[str, str]]:
        """Lists the splits that have a manifest below them."""
        found = {folder[:-1] for folder, files in self._find().items() if MANIFEST_FILE in files and len(folder) == 3}
        return [(name, split) for name, split in found]

    def tidied(self) -> contextlib.AbstractContextManager[None]:
        """Leaves all as it is: an object store has no empty folders."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def staging(self, key: TaskKey) -> Iterator[Path]:
        """Makes a folder in the cache of this machine."""
        with staging(key[-1]) as folder:
            yield folder

    def publish(self, staged: Path, key: TaskKey, manifest: dict[str, Any]) -> None:
        """Uploads the files, the manifest last, unless an equal task is there already."""
        self._remove_abandoned(key)
        try:
            if self.read(key, "always")["fingerprint"] == manifest["fingerprint"]:
                return  # another writer was first; its work is equal
            self._remove(key, MANIFEST_FILE)
        except DamagedError:
            self._remove(key, MANIFEST_FILE)  # first, so that its files are not read while they change
        except FileNotFoundError:
            pass
        for _ in range(_ATTEMPTS):
            try:
                self._upload(staged, key, [*manifest["files"], MANIFEST_FILE])
            except BaseException:
                self._remove_unfinished(key)
                raise
            with contextlib.suppress(DamagedError, FileNotFoundError):
                self.read(key, "never")
                return
            # Another writer failed meanwhile and took these files for its own: once more.
        raise UserError(
            f"Files keep vanishing from {self.address(*key)} while they are written. Look who deletes them."
        )

    def write_error(self, where: str, error: OSError) -> Exception:
        """The cache's error, where files are staged; those of the store itself come from ``publish``."""
        return cache_write_error(error)

    def fetch(self, key: TaskKey, manifest: dict[str, Any]) -> Path:
        """Returns the file of examples in the cache, fetching and verifying it where it is not there."""
        entry = manifest["files"][ARROW_FILE]
        target = cached_file(entry["blake2b"], ".arrow")
        if _is_intact(target, entry):
            return target

        def download(to: Path) -> None:
            where = self.address(*key, ARROW_FILE)
            with self._translated_errors("read", where):
                self._files.get_file(self._path(*key, ARROW_FILE), str(to))
            check_size(where, entry, to.stat().st_size)
            check_digest(where, entry, digest_of_file(to))

        try:
            put_file(target, download)
        except FileNotFoundError as error:
            raise DamagedError(f"Store file {self.address(*key, ARROW_FILE)} is missing. {REBUILD_HINT}") from error
        checksum_cache().add(_mark(target, entry))
        return target

    def _path(self, *names: str) -> str:
        return "/".join((self._root, *names))

    @contextlib.contextmanager
    def _translated_errors(self, verb: str, where: str) -> Iterator[None]:
        """Turns whatever a file system raises into a ``UserError``, except ``FileNotFoundError``.

        Each has errors of its own (of HTTP, of credentials), which share no base but Exception.
        """
        try:
            yield
        except (UserError, FileNotFoundError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                if verb == "read":
                    raise cache_write_error(error) from error
                raise UserError(
                    f"There is no room left at {where}, so nothing was added to the store {self.address()}. "
                    "Make some and run the same command again."
                ) from error
            said = str(error).strip().split("\n")[0]
            raise UserError(
                f"{where} cannot be {'read' if verb == 'read' else 'written'} "
                f"({type(error).__name__}{': ' if said else ''}{said}). "
                "Check the address, the network and your credentials."
            ) from error

    def _listing(self, key: TaskKey) -> dict[str, dict[str, Any]]:
        """Lists the folder of a task, by name.

        Raises:
            FileNotFoundError: nothing.
        """
        with self._translated_errors("read", self.address(*key)):
            self._files.invalidate_cache()  # others write there too
            entries = self._files.ls(self._path(*key), detail=True)
        return {entry["name"].rstrip("/").rsplit("/", 1)[-1]: entry for entry in entries}

    def _find(self, *names: str) -> dict[tuple[str, ...], list[str]]:
        """Lists the files below, by folder; folders as path components below the store."""
        base = self._path(*names)
        with self._translated_errors("read", self.address(*names)):
            self._files.invalidate_cache()
            try:
                found = self._files.find(base)
            except FileNotFoundError:
                found = []
        folders: dict[tuple[str, ...], list[str]] = {}
        depth = len(base.strip("/").split("/")) if base.strip("/") else 0
        for path in found:
            *folder, file = path.strip("/").split("/")[depth:]
            folders.setdefault((*names, *folder), []).append(file)
        return folders

    def _manifest_bytes(self, key: TaskKey, listed: dict[str, Any]) -> bytes:
        """Reads the manifest, cached by the version that the listing shows."""
        version = [str(listed[name]) for name in _VERSIONS if listed.get(name)]
        cached = None
        if version:
            described = repr((self.url, key, listed.get("size"), version))
            digest = hashlib.blake2b(described.encode(), digest_size=16).hexdigest()
            cached = cache_folder() / "manifests" / digest[:2] / f"{digest}.json"
            with contextlib.suppress(OSError):
                return cached.read_bytes()
        with self._translated_errors("read", self.address(*key, MANIFEST_FILE)):
            raw: bytes = self._files.cat_file(self._path(*key, MANIFEST_FILE))
        if cached is not None:
            with contextlib.suppress(UserError, OSError):  # it is read again, then
                put_bytes(cached, raw)
        return raw

    def _verify(self, key: TaskKey, manifest: dict[str, Any]) -> None:
        for name, entry in manifest["files"].items():
            where = self.address(*key, name)
            with self._translated_errors("read", where), self._files.open(self._path(*key, name), "rb") as stream:
                digest = digest_of(stream)
            check_digest(where, entry, digest)

    def _upload(self, staged: Path, key: TaskKey, names: list[str]) -> None:
        with self._translated_errors("write", self.address(*key)):
            try:
                self._files.makedirs(self._path(*key), exist_ok=True)
                for name in names:
                    self._files.put_file(str(staged / name), self._path(*key, name))
            except FileNotFoundError as error:  # no such bucket
                raise UserError(f"{self.address(*key)} cannot be written ({error}). Check the address.") from error

    def _remove(self, key: TaskKey, name: str) -> None:
        with self._translated_errors("write", self.address(*key)), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(*key, name))

    def _remove_unfinished(self, key: TaskKey) -> None:
        """Deletes what a failed upload left, unless another writer completed it."""
        with contextlib.suppress(Exception):  # the failure itself is what is told
            try:
                self.read(key, "never")
            except (DamagedError, FileNotFoundError):
                self._files.rm(self._path(*key), recursive=True)

    def _remove_abandoned(self, key: TaskKey) -> None:
        """Deletes unfinished tasks of killed writers, once they are too old to be in progress."""
        for folder, files in self._find(*key[:2]).items():
            with contextlib.suppress(Exception):  # some file systems cannot say when a file was written
                times = [_seconds(self._files.modified(self._path(*folder, file))) for file in files]
                if MANIFEST_FILE not in files and is_abandoned(max(times)):
                    self._files.rm(self._path(*folder), recursive=True)


@dataclasses.dataclass(frozen=True)
class _RemoteFolder:
    """Implements ``flan_jax.store.stored_task.TaskFolder``."""

    backend: FsspecBackend
    key: TaskKey

    @property
    def place(self) -> str:
        """The address, without a password."""
        return self.backend.address(*self.key)

    def fetch(self, manifest: dict[str, Any]) -> Path:
        """Fetches the file of examples into the cache of this machine."""
        return self.backend.fetch(self.key, manifest)


def connect(url: str, shown: str, what: str = "store") -> tuple[Any, str]:
    """Opens the file system of an address; returns it and the path in it.

    Args:
        url: the address.
        shown: the same without a password, for errors.
        what: lies there.

    Raises:
        UserError: a protocol that is not known or not installed, or that cannot be reached.
    """
    known = {*fsspec.available_protocols(), *fsspec.registry}
    for link in url.split("::"):
        protocol = link.partition("://")[0]
        if protocol not in known:
            raise unknown("protocol", protocol, known, remedy=f"The {what} is {shown}.")
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        extra = next((extra for package, extra in _EXTRAS.items() if package in str(error)), "")
        remedy = f": pip install 'flan-jax[{extra}]' brings it" if extra else ""
        raise UserError(f"The {what} {shown} needs a package that is not installed ({error}){remedy}.") from error
    except Exception as error:  # each file system has errors of its own
        raise UserError(f"The {what} {shown} cannot be reached ({type(error).__name__}: {error}).") from error


def _is_intact(file: Path, entry: dict[str, Any]) -> bool:
    """Tells whether a cached file exists and matches its checksum; one that does not is deleted."""
    try:
        if file.stat().st_size == entry["bytes"]:
            if (mark := _mark(file, entry)) in checksum_cache():
                return True
            if digest_of_file(file) == entry["blake2b"]:
                checksum_cache().add(mark)
                return True
        file.unlink(missing_ok=True)
    except OSError:
        pass
    return False


def _mark(file: Path, entry: dict[str, Any]) -> bytes:
    return file_state_digest(str(file.parent), {file.name: file.stat()}, {file.name: entry})


def _seconds(time: datetime.datetime) -> float:
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp()
