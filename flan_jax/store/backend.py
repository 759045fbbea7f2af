"""What the token store asks of the place where its folders lie."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from flan_jax.store.checksum_cache import Verify
from flan_jax.store.stored_task import RemoteFolder

Key = tuple[str, str, str]
"""The folders of a stored task: its name and its split, both quoted, and 16 digits of its fingerprint."""


class StoreBackend(Protocol):
    """A file system that holds a store.

    Attributes:
        remote: whether each question costs a round trip.
    """

    remote: bool

    def where(self, *names: str) -> str:
        """A path or address below the store, for errors."""

    def folder(self, key: Key) -> Path | RemoteFolder:
        """The folder of a task."""

    def read(self, key: Key, verify: Verify) -> dict[str, Any]:
        """The manifest of a task, its files' sizes compared with it, and checksums as ``verify`` says.

        Raises:
            FileNotFoundError: there is no such task.
            DamagedError: it is not whole.
        """

    def fingerprints(self, name: str, split: str) -> list[str]:
        """The digits of every prepared fingerprint of a split."""

    def splits(self) -> list[tuple[str, str]]:
        """The quoted (task, split) pairs that have a prepared fingerprint."""

    def staging(self, key: Key) -> AbstractContextManager[Path]:
        """A new folder of this machine in which a task is written; gone afterwards unless published."""

    def publish(self, staged: Path, key: Key, manifest: dict[str, Any]) -> None:
        """Makes a finished folder the task ``key``, unless an equal one stands there already."""

    def writing_failed(self, where: str, error: OSError) -> Exception:
        """What to raise when writing in ``staging`` failed."""
