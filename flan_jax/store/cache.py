"""The cache of this machine: files fetched from remote stores, and the list of verified files.

    FLAN_JAX_CACHE, or XDG_CACHE_HOME/flan_jax, or ~/.cache/flan_jax
        files/<2 digits>/<checksum>.arrow   what was fetched, named by what is in it
        manifests/<digest>.json             manifests, by address and version
        staging/                            tasks on their way to a remote store
        verified                            see ``flan_jax.store.checksum_cache``

It may be deleted at any time.
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from flan_jax.errors import UserError
from flan_jax.store.checksum_cache import ChecksumCache

UNFINISHED = ".unfinished-"
_ABANDONED_AFTER_S = 24 * 3600
_ELSEWHERE = "Set FLAN_JAX_CACHE to a folder with room for it."


def cache_folder() -> Path:
    """Path of the cache, which need not exist yet."""
    if named := os.environ.get("FLAN_JAX_CACHE"):
        return Path(os.path.expanduser(named))
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base, "flan_jax")


def checksum_cache() -> ChecksumCache:
    """The checksum cache of this machine."""
    return ChecksumCache.at(os.path.join(cache_folder(), "verified"))


def unfinished_name(name: str) -> str:
    """A unique temporary name for ``name`` while it is being written."""
    return f"{UNFINISHED}{name}-{os.getpid()}-{secrets.token_hex(4)}"


def remove_abandoned(parent: Path) -> None:
    """Deletes unfinished files of killed writers, once they are too old to be in progress."""
    for left in parent.glob(f"{UNFINISHED}*"):
        try:
            # A folder's own time stands still while a file in it grows.
            if is_abandoned(max(path.stat().st_mtime for path in (left, *left.glob("*")))):
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink()
        except OSError:
            continue


def is_abandoned(written: float) -> bool:
    """Tells whether a file last written at that time (seconds since the epoch) is too old to be in progress."""
    return time.time() - written > _ABANDONED_AFTER_S


@contextlib.contextmanager
def staging(name: str) -> Iterator[Path]:
    """Makes a temporary folder in the cache for files to be uploaded; it is removed afterwards.

    Raises:
        UserError: the cache cannot be written to.
    """
    parent = cache_folder() / "staging"
    folder = parent / unfinished_name(name)
    with _writing_to_cache():
        folder.mkdir(parents=True)
    remove_abandoned(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cached_file(digest: str, suffix: str) -> Path:
    """Path of the cached file of this checksum, which need not exist."""
    return cache_folder() / "files" / digest[:2] / f"{digest}{suffix}"


def put_file(target: Path, fetch: Callable[[Path], None]) -> None:
    """Adds a file atomically.

    Args:
        target: where it will lie.
        fetch: writes it to the path that it is given, and checks it.

    Raises:
        UserError: the cache cannot be written to.
    """
    unfinished = target.with_name(unfinished_name(target.name))
    with _writing_to_cache():
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(target.parent)
        unfinished.touch(exist_ok=False)
    try:
        fetch(unfinished)
        with _writing_to_cache():
            os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def put_bytes(target: Path, raw: bytes) -> None:
    """Adds a file of these bytes atomically."""

    def write(to: Path) -> None:
        to.write_bytes(raw)

    put_file(target, write)


@contextlib.contextmanager
def _writing_to_cache() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cache_write_error(error) from error


def cache_write_error(error: OSError) -> UserError:
    """The ``UserError`` for a cache that cannot be written to."""
    reason = os.strerror(error.errno) if error.errno else error  # Arrow's own text is longer
    return UserError(f"The cache {cache_folder()} cannot be written to ({reason}). {_ELSEWHERE}")
