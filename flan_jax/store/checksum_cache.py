"""Cache of checksum verifications: which files of this machine were found to match their checksums.

It is one file of digests, one a line, each of the path, inodes, sizes and times of files
together with the checksums they had. It is read once and appended to, so it costs the same for one
task as for ten thousand; a line that two writers garbled matches nothing and costs one more check.
"""

import functools
import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from flan_jax.errors import unknown

Verify = Literal["always", "changed", "never"]
"""When files are read to compare checksums: at every opening, or unless they were found right (or
written) by this machine and are unchanged since, or not at all."""
_POLICIES: tuple[Verify, ...] = ("always", "changed", "never")

_LARGEST_NOTE = 32 << 20  # bytes; about a million lines
# A file changed twice within one tick of the clock of its file system shows one time only.
_TICK_NS = 50_000_000
_COARSE_TICK_NS = 3_000_000_000


def check_verify_policy(verify: str) -> Verify:
    """Returns ``verify`` if there is such a policy.

    Raises:
        UserError: there is none.
    """
    for policy in _POLICIES:
        if verify == policy:
            return policy
    raise unknown("verification", verify, _POLICIES)


def file_state_digest(
    folder: str, stats: Mapping[str, os.stat_result], files: Mapping[str, Mapping[str, Any]]
) -> bytes:
    """Hashes the files' path, inodes, sizes and times, together with the checksums they should have.

    Args:
        folder: that holds the files.
        stats: by name.
        files: by name, each with its ``"blake2b"``.
    """
    described = [
        (name, stat.st_ino, stat.st_size, stat.st_mtime_ns, files[name]["blake2b"])
        for name, stat in sorted(stats.items())
    ]
    text = repr((os.path.abspath(folder), described))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest().encode()


def mtimes_settled(stats: Iterable[os.stat_result]) -> bool:
    """Tells whether the modification times are old enough that a later change must alter them."""
    now = time.time_ns()
    return all(
        now - stat.st_mtime_ns > (_TICK_NS if stat.st_mtime_ns % 1_000_000_000 else _COARSE_TICK_NS) for stat in stats
    )


class ChecksumCache:
    """A set of digests in an append-only file. Where the file cannot be read or written, files are verified again.

    Args:
        file: its path.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._marks: set[bytes] = set()
        self._read_bytes = 0

    @staticmethod
    @functools.cache
    def at(file: str) -> "ChecksumCache":
        """The shared instance of this process for ``file``."""
        return ChecksumCache(file)

    def __contains__(self, mark: bytes) -> bool:
        return mark in self._marks or (self._refresh() and mark in self._marks)

    def add(self, mark: bytes) -> None:
        """Adds a digest, here and in the file."""
        self._marks.add(mark)
        try:
            os.makedirs(os.path.dirname(self._file), exist_ok=True)
            # Lines of several writers stay whole: each is one write to the end.
            descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                if os.fstat(descriptor).st_size > _LARGEST_NOTE:
                    os.ftruncate(descriptor, 0)
                os.write(descriptor, mark + b"\n")
            finally:
                os.close(descriptor)
        except OSError:
            pass

    def _refresh(self) -> bool:
        """Reads what other processes appended; returns whether there was anything."""
        try:
            size = os.stat(self._file).st_size
            if size == self._read_bytes:
                return False
            with open(self._file, "rb") as stream:
                stream.seek(self._read_bytes if size > self._read_bytes else 0)
                raw = stream.read()
                self._read_bytes = stream.tell()
        except OSError:
            return False
        self._marks.update(raw.split())
        return True
