"""The protocol of a file system that holds a token store."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from flan_jax.store.checksum_cache import Verify
from flan_jax.store.stored_task import TaskFolder

TaskKey = tuple[str, str, str]
"""Path components of a stored task: its quoted name, its quoted split, and 16 digits of its fingerprint."""


class StoreBackend(Protocol):
    """A file system that holds a store.

    Attributes:
        remote: whether each question costs a round trip.
    """

    remote: bool

    def address(self, *names: str) -> str:
        """A path or address below the store, for errors."""

    def local_root(self) -> Path:
        """The folder of this machine that the store is in.

        Raises:
            ValueError: the store is remote.
        """

    def folder(self, key: TaskKey) -> TaskFolder:
        """The folder of a task."""

    def read(self, key: TaskKey, verify: Verify) -> dict[str, Any]:
        """Reads the manifest of a task; compares its files' sizes with it, and checksums as ``verify`` says.

        Raises:
            FileNotFoundError: there is no such task.
            DamagedError: it is not whole.
        """

    def fingerprints(self, name: str, split: str) -> list[str]:
        """Lists the digits of every prepared fingerprint of a split."""

    def splits(self) -> list[tuple[str, str]]:
        """Lists the quoted (task, split) pairs that have a prepared fingerprint."""

    def tidied(self) -> AbstractContextManager[None]:
        """Removes at its end what was made of the store's own folder since, where it holds nothing."""

    def staging(self, key: TaskKey) -> AbstractContextManager[Path]:
        """Makes a folder on this machine in which a task is written; it is removed afterwards unless published."""

    def publish(self, staged: Path, key: TaskKey, manifest: dict[str, Any]) -> None:
        """Moves a finished folder to ``key``, unless an equal task is there already."""

    def write_error(self, where: str, error: OSError) -> Exception:
        """Returns the exception to raise when writing in ``staging`` failed."""
