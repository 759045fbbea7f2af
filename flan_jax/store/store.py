"""The token store: every task tokenised once, one folder per task, split and fingerprint.

    STORE/<task>/<split>/<fingerprint, 16 digits>/
        data-00000-of-00001.arrow   the examples (see ``flan_jax.store.arrow``)
        dataset_info.json           by these two, ``datasets.load_from_disk`` opens the folder
        state.json
        manifest.json               what it was made from, its totals, sizes and checksums

STORE is a folder (``flan_jax.store.local``) or the address of one, such as ``gs://bucket/store``
(``flan_jax.store.remote``). The same examples give the same bytes in either, on every run.
"""

import json
import os
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError, did_you_mean
from flan_jax.store.arrow import StoredExample, smallest_uint_type, write_arrow
from flan_jax.store.backend import StoreBackend, TaskKey
from flan_jax.store.checksum_cache import Verify, check_verify_policy
from flan_jax.store.extras import LOSS_MASK, LOSS_MASK_TYPE, Extra, check_extras
from flan_jax.store.local import LocalBackend
from flan_jax.store.manifest import ARROW_FILE, MANIFEST_FILE, DamagedError, encode_manifest, make_manifest
from flan_jax.store.schema import NO_EXTRAS, write_dataset_files
from flan_jax.store.stored_task import StoredTask

__all__ = [
    "LOSS_MASK",
    "LOSS_MASK_TYPE",
    "Extra",
    "StoredExample",
    "StoredTask",
    "TaskRequest",
    "TokenStore",
    "Verify",
    "smallest_uint_type",
]

TaskRequest = tuple[str, str, str | None, Mapping[str, str] | None]
"""A task to open: name, split, fingerprint and parts, as ``TokenStore.open`` takes them."""

_LOCAL = ("file", "local")
_CONCURRENT_OPENS = 64  # remote tasks; each waits for the network most of the time


class TokenStore:
    """A store of prepared tasks, in a folder or behind an fsspec address.

    Args:
        path: the folder, or an address that fsspec knows, such as ``gs://bucket/store``; it is
            made when the first task is written.

    Attributes:
        url: the path or address.

    Raises:
        UserError: an address of a kind that is not known, or not installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.url = os.fspath(path)
        self._backend = _backend_for(self.url)

    def __reduce__(self) -> tuple[type["TokenStore"], tuple[str]]:
        return TokenStore, (self.url,)

    @property
    def path(self) -> Path:
        """The folder of a local store.

        Raises:
            ValueError: the store is remote.
        """
        return self._backend.local_root()

    def folder(self, name: str, split: str, fingerprint: str) -> Path | str:
        """Path or address of a task of this fingerprint, which need not exist."""
        return self._backend.folder(_key(name, split, fingerprint)).place

    def tidied(self) -> AbstractContextManager[None]:
        """Removes at its end what was made of the store's own folder since, where it holds nothing: all writing failed."""
        return self._backend.tidied()

    def has(self, name: str, split: str, fingerprint: str, *, verify: Verify = "never") -> bool:
        """Tells whether the task exists complete and with this fingerprint.

        Args:
            name: the task.
            split: the split.
            fingerprint: digest of everything that the tokens depend on.
            verify: whether checksums count; sizes always do. ``"never"`` reads no tokens.
        """
        try:
            manifest = self._backend.read(_key(name, split, fingerprint), check_verify_policy(verify))
        except (DamagedError, FileNotFoundError):
            return False
        return manifest["fingerprint"] == fingerprint

    def write(
        self,
        name: str,
        split: str,
        fingerprint: str,
        examples: Iterable[StoredExample],
        manifest: Mapping[str, Any],
        *,
        vocabulary_size: int | None = None,
        extras: Mapping[str, Extra] | None = None,
    ) -> StoredTask:
        """Writes one split of a task, atomically.

        A task that is there already and whole is left as it is; one whose checksums are wrong is
        replaced.

        Args:
            name: the task.
            split: the split.
            fingerprint: digest of everything that the tokens depend on.
            examples: read once, in order.
            manifest: JSON values kept in ``manifest.json``. ``manifest["parts"]``, a mapping from
                names such as ``"templates"`` to digests, is what errors compare.
            vocabulary_size: fixes the type of a token, so that a large task need not be held in
                memory until its largest id is known. Read from ``manifest["vocabulary_size"]``
                when it is there.
            extras: the type of every extra that the examples have.

        Raises:
            UserError: the disk is full or cannot be written to, a token id is out of range, or an
                extra is not what was declared.
        """
        key = _key(name, split, fingerprint)
        where = f"Task {name!r}, split {split!r}"
        if vocabulary_size is None:
            vocabulary_size = manifest.get("vocabulary_size")
        extras = check_extras(NO_EXTRAS if extras is None else extras, where)
        read_failures: list[OSError] = []
        try:
            with self._backend.staging(key) as staged:
                totals = write_arrow(
                    staged / ARROW_FILE,
                    _recording_read_errors(examples, read_failures),
                    where=where,
                    vocabulary_size=vocabulary_size,
                    extras=extras,
                )
                write_dataset_files(
                    staged,
                    ARROW_FILE,
                    totals.token_type,
                    split=split,
                    fingerprint=fingerprint[:16],
                    extras=extras,
                    info={"dataset_name": name},
                )
                # The caller may count into its manifest while the examples are read.
                whole = make_manifest(
                    manifest, staged, totals, name=name, split=split, fingerprint=fingerprint, extras=extras
                )
                (staged / MANIFEST_FILE).write_bytes(encode_manifest(whole))
                self._backend.publish(staged, key, whole)
        except OSError as error:
            if error in read_failures:
                raise
            raise self._backend.write_error(where, error) from error
        if self._backend.remote:
            # It was read back when it was published. Another writer may be replacing it by its equal just now.
            return StoredTask(self._backend.folder(key), json.loads(encode_manifest(whole)))
        return self._open_one(key, "changed")

    def open(
        self,
        name: str,
        split: str,
        fingerprint: str | None = None,
        *,
        parts: Mapping[str, str] | None = None,
        verify: Verify = "changed",
    ) -> StoredTask:
        """Opens a prepared task.

        Args:
            name: the task.
            split: the split.
            fingerprint: the one that must be there; ``None`` takes the only one there is.
            parts: what ``fingerprint`` was made from, to name what differs when it is not there.
            verify: when files are read to compare checksums: ``"always"``; ``"changed"``, unless
                this machine wrote them or found them right and they are unchanged since; or
                ``"never"``. Sizes are always compared. What is fetched is always verified.

        Raises:
            UserError: not prepared, prepared from something else, several to choose from, or damaged.
        """
        verify = check_verify_policy(verify)
        if fingerprint is None:
            found = self.fingerprints(name, split)
            if len(found) > 1:
                raise UserError(
                    f"Task {name!r}, split {split!r} was prepared in {len(found)} ways in {self._backend.address()} "
                    f"({', '.join(found)}). Name a fingerprint, or delete those not wanted."
                    f"{self._differences(name, split, found)}"
                )
            if not found:
                raise self._missing_error(name, split)
            return self._open_one(_key(name, split, found[0]), verify)
        try:
            stored = self._open_one(_key(name, split, fingerprint), verify)
        except FileNotFoundError:
            stored = None
        if stored is None or stored.fingerprint != fingerprint:
            found = self.fingerprints(name, split)
            raise (
                self._fingerprint_error(name, split, found, fingerprint, parts)
                if found
                else self._missing_error(name, split)
            )
        return stored

    def open_many(
        self, wanted: Iterable[TaskRequest], *, verify: Verify = "changed", fetch: bool = True
    ) -> list[StoredTask]:
        """Opens prepared tasks, as ``open`` does; those of a remote store concurrently, files included.

        Args:
            wanted: name, split, fingerprint and parts of each.
            verify: as in ``open``.
            fetch: bring the files of a remote store here; without them, each comes when it is read.

        Returns:
            the tasks, in the order asked for.

        Raises:
            UserError: as ``open``, for the first task that cannot be opened.
        """
        wanted = list(wanted)
        if not self._backend.remote:
            return [self.open(name, split, print_, parts=parts, verify=verify) for name, split, print_, parts in wanted]

        def fetched(name: str, split: str, fingerprint: str | None, parts: Mapping[str, str] | None) -> StoredTask:
            stored = self.open(name, split, fingerprint, parts=parts, verify=verify)
            if fetch:
                stored.fetch()
            return stored

        with ThreadPoolExecutor(_CONCURRENT_OPENS, thread_name_prefix="open-tasks") as threads:
            opening = [threads.submit(fetched, *one) for one in wanted]
            try:
                return [one.result() for one in opening]
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def fingerprints(self, name: str, split: str) -> tuple[str, ...]:
        """Lists the 16 digits of every prepared fingerprint of a split, sorted."""
        return tuple(sorted(self._backend.fingerprints(_quoted(name), _quoted(split))))

    def tasks(self) -> tuple[tuple[str, str], ...]:
        """Lists the (task, split) pairs in the store, sorted."""
        unquote = urllib.parse.unquote
        return tuple(sorted((unquote(name), unquote(split)) for name, split in self._backend.splits()))

    def _open_one(self, key: TaskKey, verify: Verify) -> StoredTask:
        return StoredTask(self._backend.folder(key), self._backend.read(key, verify))

    def _missing_error(self, name: str, split: str) -> UserError:
        there = self.tasks()
        splits = [other for task, other in there if task == name]
        hint = f" It has {', '.join(splits)}." if splits else did_you_mean(name, {task for task, _ in there})
        return UserError(
            f"Task {name!r}, split {split!r} is not in the store {self._backend.address()}.{hint} Run `flan-jax prepare` for it."
        )

    def _fingerprint_error(
        self, name: str, split: str, found: tuple[str, ...], fingerprint: str, parts: Mapping[str, str] | None
    ) -> UserError:
        changed: list[str] | None = None
        for other in found:
            differing = _differing(self._parts(name, split, other), parts)
            if differing and (changed is None or len(differing) < len(changed)):
                changed = differing
        what = f" These changed since: {', '.join(changed)}." if changed else ""
        return UserError(
            f"Task {name!r}, split {split!r} in the store {self._backend.address()} was prepared from something else "
            f"(fingerprint {', '.join(found)}, wanted {fingerprint[:16]}).{what} Run `flan-jax prepare` again."
        )

    def _differences(self, name: str, split: str, found: tuple[str, ...]) -> str:
        first = self._parts(name, split, found[0])
        differing = {part for other in found[1:] for part in _differing(self._parts(name, split, other), first)}
        return f" They differ in {', '.join(sorted(differing))}." if differing else ""

    def _parts(self, name: str, split: str, fingerprint: str) -> dict[str, str]:
        try:
            return dict(self._backend.read(_key(name, split, fingerprint), "never").get("parts") or {})
        except (DamagedError, FileNotFoundError):
            return {}


def _backend_for(url: str) -> StoreBackend:
    protocol, separator, rest = url.partition("://")
    if not separator and "::" not in url:
        return LocalBackend(Path(url))
    if protocol in _LOCAL:
        return LocalBackend(Path(rest))
    from flan_jax.store.remote import FsspecBackend  # a store in a folder needs no fsspec

    return FsspecBackend(url)


def _key(name: str, split: str, fingerprint: str) -> TaskKey:
    return _quoted(name), _quoted(split), fingerprint[:16]


def _quoted(name: str) -> str:
    """Quotes a name to one safe path component: a third party's may hold slashes and colons."""
    quoted = urllib.parse.quote(name, safe=" ")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def _recording_read_errors(examples: Iterable[StoredExample], failures: list[OSError]) -> Iterator[StoredExample]:
    """Yields the examples and records an OSError of reading them, to tell it from one of writing."""
    try:
        yield from examples
    except OSError as error:
        failures.append(error)
        raise


def _differing(one: Mapping[str, str], other: Mapping[str, str] | None) -> list[str]:
    if not other:
        return []
    return sorted(part for part in {*one, *other} if one.get(part) != other.get(part))
