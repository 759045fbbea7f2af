"""The copy of a run's folder at an address (`s3://…`), from which any machine goes on.

ADDRESS/objects/DIGEST   the content of a file, by its BLAKE2b digest
ADDRESS/run.json         the files of the folder, each with its digest and size
ADDRESS/report.html      the page of the run, for a browser

An object store cannot rename a folder in one step. So objects come first, each under a name that no other content has, and
`run.json` last, which a store replaces whole: a reader finds the folder as it was at one moment, and an upload that is
killed leaves the one before. What `run.json` names no more is deleted after that.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flan_jax import files
from flan_jax.errors import UserError
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.run_folder.address_files import PAUSE_S, AddressFiles
from flan_jax.experiments.run_folder.run_lock import LOCK
from flan_jax.store.manifest import digest_of_file
from flan_jax.train.step_folders import step_folders

INDEX, OBJECTS, IDENTITY = "run.json", "objects", "mirror.json"
FORMAT = 1
"""Raised when a key of ``run.json`` changes its meaning or goes."""
_LEFT_OUT = re.compile(r"(^|/)(\.|damaged-|diverged-)|\.orbax-checkpoint-tmp|\.tmp$")
"""Of a folder: what is being written, was deleted, or nobody reads."""
_OF_STEP = re.compile(rf"{run_files.CHECKPOINTS}/(\d+)/")
Log = Callable[[str], None]


class RunMirror:
    """The copy of one run's folder; one process at a time writes it.

    Args:
        url: an fsspec address, or a folder (of a disk that machines share); options of a protocol come from fsspec's own
            configuration.
        folder: MODEL_DIR.
        log: told in a sentence what is fetched.
        pause_s: seconds before what failed is tried again.

    Raises:
        UserError: a protocol that is not known or not installed.
    """

    def __init__(self, url: str, folder: Path, log: Log = lambda line: None, *, pause_s: float = PAUSE_S) -> None:
        self.files = AddressFiles(url, "copy of a run", pause_s=pause_s)
        self.shown, self.folder, self._log = self.files.shown, folder, log
        self._digests: dict[tuple[str, int, int], str] = {}
        self._index: Mapping[str, Any] | None = None

    def index(self) -> dict[str, Any] | None:
        """Reads ``run.json``; ``None`` where nothing was uploaded yet.

        Raises:
            UserError: it cannot be read, or a later version wrote it.
        """
        try:
            content = self.files.read(INDEX)
        except FileNotFoundError:
            return None
        try:
            found = dict(json.loads(content))
        except ValueError as error:
            raise UserError(f"{self.shown}/{INDEX} is no list of a run's files ({error}). Remove it.") from error
        if found["format"] > FORMAT:
            raise UserError(f"{self.shown}/{INDEX} was written by a later flan-jax. Install that.")
        self._index = found
        return found

    def restore(self) -> None:
        """Brings the folder to where the copy is, unless it is there or farther already.

        Raises:
            UserError: the copy is of another run, cannot be read, or is damaged.
        """
        found, own = self.index(), self._own_identity()
        begun = (self.folder / run_files.MANIFEST).is_file()
        if found is None:
            return
        if begun and own != found["identity"]:
            raise UserError(
                f"{self.shown} holds the copy of another run than {str(self.folder)!r}. Name another address, or another "
                "MODEL_DIR."
            )
        here = max(step_folders(self.folder / run_files.CHECKPOINTS), default=-1)
        if begun and here >= found["step"]:
            return
        self._log(f"fetching step {found['step']} of the run from {self.shown}")
        with files.atomic_dir(self.folder) as made:
            self.download(made, found)
            for name in self._names():  # what others put there, such as the record of a launch
                if name not in found["files"] and not name.startswith(f"{run_files.CHECKPOINTS}/"):
                    (made / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(self.folder / name, made / name)

    def download(self, to: Path, found: Mapping[str, Any], wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Writes the files of the copy into a folder, each compared with its digest.

        Args:
            to: the folder.
            found: of ``index``.
            wanted: asked of each file's path whether it is fetched.
        """
        for name, entry in found["files"].items():
            if wanted(name):
                path = to / name
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self.files.fetch(entry["digest"], path, OBJECTS, entry["digest"])
                except FileNotFoundError as error:
                    raise UserError(
                        f"{self.shown} lacks the content of {name}: another process writes there, or somebody deleted it."
                    ) from error

    def upload(self) -> None:
        """Makes the copy what the folder is now: what is new of it, then the index, then away with what is old.

        Raises:
            UserError: the address takes nothing, after several attempts.
        """
        identity = self._identity()
        before = self._index or {"files": {}}
        there = {entry["digest"] for entry in before["files"].values()}
        entries: dict[str, dict[str, Any]] = {}
        with self._held() as checkpoints:
            logged = [name for name in self._names() if not _OF_STEP.match(name)]
            for name in (*checkpoints, *logged):  # in this order: what is logged is never behind what is saved
                with contextlib.suppress(FileNotFoundError), self._still(name, checkpoints.get(name)) as path:
                    size, digest = path.stat().st_size, self._digest(name, path)
                    if digest not in there:
                        self.files.put(path, OBJECTS, digest)
                        there.add(digest)
                    entries[name] = {"digest": digest, "bytes": size}
        steps = [int(match[1]) for match in map(_OF_STEP.match, entries) if match]
        index = {"format": FORMAT, "identity": identity, "step": max(steps, default=-1), "files": entries}
        if index["files"] != before["files"]:
            self.files.write(json.dumps(index, indent=1), INDEX)
            self._index = index
            for digest in sorted(there - {entry["digest"] for entry in entries.values()}):
                self.files.remove(OBJECTS, digest)
        page = self.folder / run_files.REPORT
        if page.is_file():
            self.put_page(page)

    def put_page(self, page: Path) -> None:
        """Writes the page of the run under its own name."""
        self.files.put(page, run_files.REPORT)

    def _identity(self) -> str:
        """The name by which the run and its copy know each other; the folder gets one where it has none."""
        own = self._own_identity()
        if own is None:
            own = str(self._index["identity"]) if self._index else secrets.token_hex(16)
            files.atomic_write_text(self.folder / IDENTITY, json.dumps({"identity": own}) + "\n")
        return own

    def _own_identity(self) -> str | None:
        try:
            return str(json.loads((self.folder / IDENTITY).read_text(encoding="utf-8"))["identity"])
        except (OSError, ValueError, KeyError):
            return None

    def _names(self) -> list[str]:
        """The files of the folder that its copy has."""
        found = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
        return sorted(name for name in found if name != LOCK and not _LEFT_OUT.search(name))

    @contextlib.contextmanager
    def _held(self) -> Iterator[dict[str, Path]]:
        """Yields the files of the checkpoints that are there now: the name of each → a link of its own.

        A run deletes its old checkpoints, while an upload of a minute is under way too: all of them may be gone before
        its end, and the copy would have none. What is linked stays on the disk until it is uploaded.
        """
        files.remove_leftovers(self.folder)
        folder = self.folder / files.temporary_name("mirror")
        held: dict[str, Path] = {}
        try:
            for step in sorted(step_folders(self.folder / run_files.CHECKPOINTS)):
                with contextlib.suppress(FileNotFoundError):  # it was deleted meanwhile
                    held |= self._linked(self.folder / run_files.CHECKPOINTS / str(step), folder)
            yield held
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _linked(self, checkpoint: Path, folder: Path) -> dict[str, Path]:
        linked = {}
        for path in sorted(checkpoint.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if _LEFT_OUT.search(name) or path.is_dir():
                continue
            linked[name] = folder / name
            linked[name].parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, linked[name])
            except FileNotFoundError:
                raise
            except OSError:  # a file system without links
                shutil.copy2(path, linked[name])
        if not checkpoint.is_dir():
            raise FileNotFoundError(checkpoint)
        return linked

    @contextlib.contextmanager
    def _still(self, name: str, linked: Path | None) -> Iterator[Path]:
        """Yields a file that nobody appends to: one of a checkpoint by its link, of any other a copy."""
        if linked is not None:
            yield linked
            return
        path = self.folder / name
        copy = self.folder / files.temporary_name(path.name)
        try:
            shutil.copyfile(path, copy)
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    def _digest(self, name: str, path: Path) -> str:
        if not name.startswith(f"{run_files.CHECKPOINTS}/"):
            return digest_of_file(path)
        status = path.stat()
        key = (name, status.st_size, status.st_mtime_ns)
        if key not in self._digests:
            self._digests[key] = digest_of_file(path)
        return self._digests[key]
