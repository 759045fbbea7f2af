"""The backend of a store in a local folder.

A task is written under another name and renamed when it is whole, so a half-written one is never
read, and of two writers at once one wins and the other's equal work is dropped.
"""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from flan_jax.errors import UserError
from flan_jax.store.backend import TaskKey
from flan_jax.store.cache import checksum_cache, remove_abandoned, unfinished_name
from flan_jax.store.checksum_cache import Verify, file_state_digest, mtimes_settled
from flan_jax.store.manifest import (
    ARROW_FILE,
    MANIFEST_FILE,
    REBUILD_HINT,
    DamagedError,
    check_digest,
    check_size,
    digest_of_file,
    parse_manifest,
)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENOENT)


class LocalFolder(NamedTuple):
    """The folder of a task; implements ``flan_jax.store.stored_task.TaskFolder``."""

    place: Path

    def fetch(self, manifest: dict[str, Any]) -> Path:
        """Returns the file of examples, which is here."""
        del manifest
        return self.place / ARROW_FILE


class LocalBackend:
    """A local folder; implements ``flan_jax.store.backend.StoreBackend``."""

    remote = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self._root = os.fspath(root)

    def address(self, *names: str) -> str:
        """A path below the store."""
        return os.path.join(self._root, *names)

    def local_root(self) -> Path:
        """The folder itself."""
        return self.root

    def folder(self, key: TaskKey) -> "LocalFolder":
        """The folder of a task."""
        return LocalFolder(self.root.joinpath(*key))

    def read(self, key: TaskKey, verify: Verify) -> dict[str, Any]:
        """Reads the manifest and compares the files with it."""
        folder = self.address(*key)
        file = os.path.join(folder, MANIFEST_FILE)
        try:
            with open(file, "rb") as stream:
                raw = stream.read()
        except FileNotFoundError:
            if not os.path.isdir(folder):
                raise
            raise DamagedError(f"Store folder {folder} has no {MANIFEST_FILE}. {REBUILD_HINT}") from None
        except OSError as error:
            raise DamagedError(f"Store file {file} cannot be read ({error.strerror}). {REBUILD_HINT}") from error
        manifest = parse_manifest(raw, file)
        stats = {}
        for name, entry in manifest["files"].items():
            path = os.path.join(folder, name)
            try:
                stats[name] = os.stat(path)
            except OSError as error:
                raise DamagedError(
                    f"Store file {path} is missing or cannot be read ({error.strerror}). {REBUILD_HINT}"
                ) from error
            check_size(path, entry, stats[name].st_size)
        if verify != "never":
            _verify(folder, manifest["files"], stats, verify)
        return manifest

    def fingerprints(self, name: str, split: str) -> list[str]:
        """Lists the folders of a split; damaged ones are reported when they are read."""
        try:
            return [entry for entry in os.listdir(self.address(name, split)) if not entry.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def splits(self) -> list[tuple[str, str]]:
        """Lists the splits that have a folder."""
        found = [(split.parent.name, split.name) for split in self.root.glob("*/*") if not split.name.startswith(".")]
        return [pair for pair in found if self.fingerprints(*pair)]

    @contextlib.contextmanager
    def tidied(self) -> Iterator[None]:
        """Removes at its end the store's folder and those above it, where they are new and empty."""
        root = Path(os.path.abspath(self.root))
        new = [folder for folder in (root, *root.parents) if not folder.exists()]
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                for folder in new:
                    folder.rmdir()

    @contextlib.contextmanager
    def staging(self, key: TaskKey) -> Iterator[Path]:
        """Makes a folder beside the one that it will be renamed to."""
        target = self.folder(key).place
        staged = target.with_name(unfinished_name(target.name))
        _make_folder(staged)
        try:
            remove_abandoned(target.parent)
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)
            # Where nothing came of it, no empty folders stay that look like a task.
            with contextlib.suppress(OSError):
                target.parent.rmdir()
                target.parent.parent.rmdir()

    def publish(self, staged: Path, key: TaskKey, manifest: dict[str, Any]) -> None:
        """Renames the finished folder into place, unless an equal one stands there already."""
        target = self.folder(key).place
        # The clock that stamps files may stand still for some milliseconds. With a time that is not
        # its own, a change right after this one shows.
        now = time.time_ns()
        for name in manifest["files"]:
            os.utime(staged / name, ns=(now, now))
        for _ in range(8):
            try:
                os.rename(staged, target)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
            else:
                self._cache_checksums(target, manifest)
                return
            try:
                if self.read(key, "always")["fingerprint"] == manifest["fingerprint"]:
                    return  # another writer was first; its work is equal
            except (DamagedError, FileNotFoundError):
                pass
            # What stands there is damaged. It is moved aside before it is deleted, so that no reader
            # meets it half-deleted, and a second writer that does the same finds it gone.
            aside = staged.with_name(f"{staged.name}-old")
            try:
                os.rename(target, aside)
            except FileNotFoundError:
                continue
            if aside.is_dir():
                shutil.rmtree(aside, ignore_errors=True)
            else:
                aside.unlink(missing_ok=True)
        raise OSError(errno.EEXIST, "other writers keep replacing the folder", str(target))

    def write_error(self, where: str, error: OSError) -> Exception:
        """A ``UserError`` for a full disk or a folder that refuses; else the error itself."""
        return write_error(where, self._root, error)

    def _cache_checksums(self, target: Path, manifest: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # then it is verified when it is opened
            stats = {name: os.stat(target / name) for name in manifest["files"]}
            checksum_cache().add(file_state_digest(os.fspath(target), stats, manifest["files"]))


def _verify(folder: str, files: dict[str, Any], stats: dict[str, os.stat_result], verify: Verify) -> None:
    cache = checksum_cache()
    mark = file_state_digest(folder, stats, files)
    if verify == "changed" and mark in cache:
        return
    for name, entry in files.items():
        path = os.path.join(folder, name)
        try:
            digest = digest_of_file(path)
        except OSError as error:
            raise DamagedError(f"Store file {path} cannot be read ({error.strerror}). {REBUILD_HINT}") from error
        check_digest(path, entry, digest)
    if mark not in cache and mtimes_settled(stats.values()):
        cache.add(mark)


def write_error(where: str, store: str, error: OSError) -> Exception:
    """Turns an error of writing to ``store`` into a ``UserError`` where the user can mend it."""
    if error.errno in _FULL:
        return UserError(
            f"{where}: the disk is full, so nothing was added to the store {store}. Free some space and run the same command again."
        )
    if error.errno in _REFUSED:
        return UserError(
            f"{where}: the store {store} cannot be written to ({os.strerror(error.errno)}). Choose another folder with --store (for a run, --gin.STORE)."
        )
    return error


def _make_folder(folder: Path) -> None:
    """Makes a folder and its parents, though another writer may be removing these while they are empty."""
    for _ in range(8):
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True)
            return
    folder.mkdir(parents=True)
