"""The token store: every task tokenised once, one folder per task, split and fingerprint.

    STORE/<task>/<split>/<fingerprint, 16 digits>/
        data-00000-of-00001.arrow   the examples (see ``flan_jax.feed.arrow``)
        dataset_info.json           by these two, ``datasets.load_from_disk`` opens the folder
        state.json
        manifest.json               what it was made from, its totals, sizes and checksums

A folder is written under another name and renamed when it is whole, so a half-written task is
never read, and of two writers at once one wins and the other's equal work is dropped.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
import time
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from flan_jax.errors import UserError, did_you_mean
from flan_jax.feed.arrow import ArrowTokens, StoredExample, narrowest, write_arrow
from flan_jax.feed.extras import Extra, as_json
from flan_jax.feed.schema import NO_EXTRAS, write_dataset_files

__all__ = ["Extra", "StoredExample", "StoredTask", "TokenStore", "narrowest"]

ARROW = "data-00000-of-00001.arrow"
MANIFEST = "manifest.json"
FORMAT = 1
_UNFINISHED = ".unfinished-"
_ABANDONED_AFTER_S = 24 * 3600
_REBUILD = "Delete the folder and run `flan-jax prepare` again."


class StoredTask:
    """One prepared split of a task, mapped into memory when its tokens are first asked for.

    Attributes:
        name: the task.
        split: the split.
        fingerprint: what it was made from, as a hexadecimal digest.
        manifest: ``manifest.json``.
        folder: where it lies.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.name: str = manifest["name"]
        self.split: str = manifest["split"]
        self.fingerprint: str = manifest["fingerprint"]

    def __len__(self) -> int:
        return int(self.manifest["num_examples"])

    def __repr__(self) -> str:
        return f"StoredTask({self.name!r}, {self.split!r}, {self.fingerprint[:16]!r}, {len(self)} examples)"

    @cached_property
    def tokens(self) -> ArrowTokens:
        """The mapped file.

        Raises:
            UserError: the file cannot be read as Arrow.
        """
        try:
            return ArrowTokens(self.folder / ARROW)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise UserError(f"Store file {self.folder / ARROW} cannot be read ({error}). {_REBUILD}") from error

    def inputs(self, index: int) -> np.ndarray:
        """[length] unsigned token ids, a view."""
        return self.tokens.inputs[self._checked(index)]

    def targets(self, index: int) -> np.ndarray:
        """[length] unsigned token ids, a view."""
        return self.tokens.targets[self._checked(index)]

    @cached_property
    def input_lengths(self) -> np.ndarray:
        """[n] int32."""
        return self.tokens.inputs.lengths()

    @cached_property
    def target_lengths(self) -> np.ndarray:
        """[n] int32."""
        return self.tokens.targets.lengths()

    @cached_property
    def example_ids(self) -> np.ndarray:
        """[n] int64, the index of each record in its split."""
        return self.tokens.integers("example_id")

    @cached_property
    def template_ids(self) -> np.ndarray:
        """[n] int32, the template that rendered each example."""
        return self.tokens.integers("template_id")

    def options(self, index: int) -> tuple[str, ...]:
        """The closed set that is scored, or ``()``."""
        return self.tokens.strings("options", self._checked(index))

    def references(self, index: int) -> tuple[str, ...]:
        """Every accepted answer."""
        return self.tokens.strings("references", self._checked(index))

    @cached_property
    def extra_types(self) -> dict[str, Extra]:
        """The type of every extra, by name."""
        return {name: Extra(**kind) for name, kind in self.manifest.get("extras", {}).items()}

    def extras(self, index: int) -> dict[str, np.ndarray | list[np.ndarray]]:
        """Every extra by name.

        Numbers have the declared type, text is an array of ``bytes`` objects. Rank 0 has the shape
        [], rank 1 [length]; rank 2 is a list of [length] arrays, even where all are equally long.
        """
        row = self._checked(index)
        return {name: self.tokens.extra(name, extra, row) for name, extra in self.extra_types.items()}

    def example(self, index: int) -> StoredExample:
        """One example, whole."""
        return StoredExample(
            inputs=self.inputs(index),
            targets=self.targets(index),
            example_id=int(self.example_ids[index]),
            template_id=int(self.template_ids[index]),
            options=self.options(index),
            references=self.references(index),
            extras=self.extras(index),
        )

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"example {index} of {self.name!r}, which has {len(self)}")
        return index


class TokenStore:
    """A folder of prepared tasks.

    Args:
        path: the folder; it is made when the first task is written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def folder(self, name: str, split: str, fingerprint: str) -> Path:
        """Where a task of this fingerprint lies, or would lie."""
        return self._splits(name, split) / fingerprint[:16]

    def _splits(self, name: str, split: str) -> Path:
        return self.path / _quoted(name) / _quoted(split)

    def has(self, name: str, split: str, fingerprint: str) -> bool:
        """Whether the task is there, whole, and of this fingerprint. Reads no tokens."""
        try:
            return _read(self.folder(name, split, fingerprint)).fingerprint == fingerprint
        except (UserError, FileNotFoundError):
            return False

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
        """Writes one split of a task, whole or not at all.

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
        target = self.folder(name, split, fingerprint)
        unfinished = target.with_name(f"{_UNFINISHED}{target.name}-{os.getpid()}-{secrets.token_hex(4)}")
        where = f"Task {name!r}, split {split!r}"
        if vocabulary_size is None:
            vocabulary_size = manifest.get("vocabulary_size")
        extras = NO_EXTRAS if extras is None else extras
        read_failures: list[OSError] = []
        try:
            unfinished.mkdir(parents=True)
            _remove_abandoned(target.parent)
            totals = write_arrow(
                unfinished / ARROW,
                _noting(examples, read_failures),
                where=where,
                vocabulary_size=vocabulary_size,
                extras=extras,
            )
            write_dataset_files(
                unfinished,
                ARROW,
                totals.token_type,
                split=split,
                fingerprint=fingerprint[:16],
                extras=extras,
                info={"dataset_name": name},
            )
            whole = {
                **manifest,
                "format": FORMAT,
                "name": name,
                "split": split,
                "fingerprint": fingerprint,
                "num_examples": totals.examples,
                "input_tokens": totals.input_tokens,
                "target_tokens": totals.target_tokens,
                "max_input_length": totals.max_input_length,
                "max_target_length": totals.max_target_length,
                "token_type": totals.token_type,
                "extras": as_json(extras),
                "files": {
                    file.name: {"bytes": file.stat().st_size, "blake2b": _digest(file)}
                    for file in sorted(unfinished.iterdir())
                },
            }
            (unfinished / MANIFEST).write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            self._publish(unfinished, target, fingerprint)
        except OSError as error:
            if error in read_failures:
                raise
            raise _writing_failed(where, self.path, error) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return _read(target)

    def _publish(self, unfinished: Path, target: Path, fingerprint: str) -> None:
        """Renames the finished folder into place, unless an equal one stands there already."""
        for _ in range(8):
            try:
                os.rename(unfinished, target)
                return
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
            try:
                if _read(target).fingerprint == fingerprint:
                    return  # another writer was first; its work is equal
            except (UserError, FileNotFoundError):
                pass
            # What stands there is damaged. It is moved aside before it is deleted, so that no reader
            # meets it half-deleted, and a second writer that does the same finds it gone.
            aside = unfinished.with_name(f"{unfinished.name}-old")
            try:
                os.rename(target, aside)
            except FileNotFoundError:
                continue
            shutil.rmtree(aside, ignore_errors=True)
        raise OSError(errno.EEXIST, "other writers keep replacing the folder", str(target))

    def open(
        self,
        name: str,
        split: str,
        fingerprint: str | None = None,
        *,
        parts: Mapping[str, str] | None = None,
        verify: bool = False,
    ) -> StoredTask:
        """Opens a prepared task.

        Args:
            name: the task.
            split: the split.
            fingerprint: the one that must be there; ``None`` takes the only one there is.
            parts: what ``fingerprint`` was made from, to name what differs when it is not there.
            verify: read every file and compare checksums; sizes are always compared.

        Raises:
            UserError: not prepared, prepared from something else, several to choose from, or damaged.
        """
        found = self.fingerprints(name, split)
        where = f"Task {name!r}, split {split!r}"
        if fingerprint is None:
            if len(found) > 1:
                raise UserError(
                    f"{where} was prepared in {len(found)} ways in {self.path} ({', '.join(found)}). "
                    f"Name a fingerprint, or delete those not wanted.{self._differences(name, split, found)}"
                )
            if not found:
                raise self._missing(name, split)
            stored = _read(self.folder(name, split, found[0]))
        else:
            if fingerprint[:16] not in found:
                raise self._missing(name, split) if not found else self._other(name, split, found, fingerprint, parts)
            stored = _read(self.folder(name, split, fingerprint))
            if stored.fingerprint != fingerprint:
                raise self._other(name, split, found, fingerprint, parts)
        if verify:
            _verify(stored)
        return stored

    def fingerprints(self, name: str, split: str) -> tuple[str, ...]:
        """The 16 digits of every prepared fingerprint of a split, sorted."""
        folder = self._splits(name, split)
        if not folder.is_dir():
            return ()
        return tuple(sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(".")))

    def tasks(self) -> tuple[tuple[str, str], ...]:
        """The (task, split) pairs that are there, sorted."""
        found = [
            (urllib.parse.unquote(split.parent.name), urllib.parse.unquote(split.name))
            for split in self.path.glob("*/*")
            if split.is_dir() and not split.name.startswith(".")
        ]
        return tuple(sorted(pair for pair in found if self.fingerprints(*pair)))

    def _missing(self, name: str, split: str) -> UserError:
        there = self.tasks()
        splits = [other for task, other in there if task == name]
        hint = f" It has {', '.join(splits)}." if splits else did_you_mean(name, {task for task, _ in there})
        return UserError(
            f"Task {name!r}, split {split!r} is not in the store {self.path}.{hint} Run `flan-jax prepare` for it."
        )

    def _other(
        self, name: str, split: str, found: tuple[str, ...], fingerprint: str, parts: Mapping[str, str] | None
    ) -> UserError:
        changed: list[str] | None = None
        for other in found:
            differing = _differing(_parts(self.folder(name, split, other)), parts)
            if differing and (changed is None or len(differing) < len(changed)):
                changed = differing
        what = f" These changed since: {', '.join(changed)}." if changed else ""
        return UserError(
            f"Task {name!r}, split {split!r} in the store {self.path} was prepared from something else "
            f"(fingerprint {', '.join(found)}, wanted {fingerprint[:16]}).{what} Run `flan-jax prepare` again."
        )

    def _differences(self, name: str, split: str, found: tuple[str, ...]) -> str:
        first = _parts(self.folder(name, split, found[0]))
        differing = {part for other in found[1:] for part in _differing(_parts(self.folder(name, split, other)), first)}
        return f" They differ in {', '.join(sorted(differing))}." if differing else ""


def _noting(examples: Iterable[StoredExample], failures: list[OSError]) -> Iterator[StoredExample]:
    """Passes examples on; a failure to read them is noted, so that it is not taken for one of writing."""
    try:
        yield from examples
    except OSError as error:
        failures.append(error)
        raise


def _quoted(name: str) -> str:
    """A name as one safe path component: a third party's may hold slashes and colons."""
    quoted = urllib.parse.quote(name, safe=" ")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def _parts(folder: Path) -> dict[str, str]:
    try:
        return dict(_read(folder).manifest.get("parts") or {})
    except (UserError, FileNotFoundError):
        return {}


def _differing(one: Mapping[str, str], other: Mapping[str, str] | None) -> list[str]:
    if not other:
        return []
    return sorted(part for part in {*one, *other} if one.get(part) != other.get(part))


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _read(folder: Path) -> StoredTask:
    """The task in a folder, its files' sizes compared with the manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        version, files = manifest["format"], manifest["files"]
    except FileNotFoundError:
        if not folder.is_dir():
            raise
        raise UserError(f"Store folder {folder} has no {MANIFEST}. {_REBUILD}") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(f"Store file {folder / MANIFEST} is damaged ({error}). {_REBUILD}") from error
    if version != FORMAT:
        raise UserError(f"Store folder {folder} has the format {version!r}; this version reads {FORMAT}. {_REBUILD}")
    for name, expected in files.items():
        try:
            size = (folder / name).stat().st_size
        except OSError as error:
            raise UserError(
                f"Store file {folder / name} is missing or cannot be read ({error.strerror}). {_REBUILD}"
            ) from error
        if size != expected["bytes"]:
            raise UserError(f"Store file {folder / name} has {size} bytes instead of {expected['bytes']}. {_REBUILD}")
    return StoredTask(folder, manifest)


def _verify(stored: StoredTask) -> None:
    for name, expected in stored.manifest["files"].items():
        if _digest(stored.folder / name) != expected["blake2b"]:
            raise UserError(f"Store file {stored.folder / name} does not match its checksum. {_REBUILD}")


def _remove_abandoned(parent: Path) -> None:
    """Deletes what writers that were killed left behind, once no writer can still be at it."""
    for folder in parent.glob(f"{_UNFINISHED}*"):
        try:
            if time.time() - folder.stat().st_mtime > _ABANDONED_AFTER_S:
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            continue


def _writing_failed(where: str, path: Path, error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"{where}: the disk is full, so nothing was added to the store {path}. Free some space and run the same command again."
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENOENT):
        return UserError(
            f"{where}: the store {path} cannot be written to ({error.strerror}). Choose another folder with --store."
        )
    return error
