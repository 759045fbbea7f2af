"""The copy of a run's folder at an address (`s3://…`), from which any machine goes on.

ADDRESS/objects/DIGEST   the content of a file, by its BLAKE2b digest
ADDRESS/run.json         the files of the folder, each with its digest and size
ADDRESS/report.html      the page of the run, for a browser
ADDRESS/writer.json      the process that writes all this (``mirror_writer``)
ADDRESS/added/NAME/      results that another process measured (``added_results``), until the run takes them into its list

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
from flan_jax.experiments.run_folder.added_results import AddedResults
from flan_jax.experiments.run_folder.address_files import PAUSE_S, AddressFiles
from flan_jax.experiments.run_folder.mirror_writer import SILENT_S, MirrorWriter
from flan_jax.experiments.run_folder.run_lock import LOCK
from flan_jax.store.manifest import digest_of_file
from flan_jax.train.step_folders import step_folders

INDEX, OBJECTS, IDENTITY = "run.json", "objects", "mirror.json"
FETCHED = ".fetched"
"""The file that marks a folder in which some files of a copy lie, and perhaps not all: one that nobody trained in."""
FORMAT = 1
"""Raised when a key of ``run.json`` changes its meaning or goes."""
RESULTS = "eval/"
_LEFT_OUT = re.compile(r"(^|/)(\.|damaged-|diverged-)|\.orbax-checkpoint-tmp|\.tmp$")
"""Of a folder: what is being written, was deleted, or nobody reads."""
_OF_STEP = re.compile(rf"{run_files.CHECKPOINTS}/(\d+)/")
Log = Callable[[str], None]


class RunMirror:
    """The copy of one run's folder; one process at a time writes it.

    Args:
        url: an fsspec address, or a folder (of a disk that machines share); options of a protocol come from fsspec's own
            configuration.
        folder: MODEL_DIR, or the staging folder of one that is an address.
        log: told in a sentence what is fetched.
        pause_s: seconds before what failed is tried again.
        silent_s: seconds after which another machine's writer that gives no sign is taken for dead.

    Raises:
        UserError: a protocol that is not known or not installed.
    """

    def __init__(
        self,
        url: str,
        folder: Path,
        log: Log = lambda line: None,
        *,
        pause_s: float = PAUSE_S,
        silent_s: float = SILENT_S,
    ) -> None:
        self.files = AddressFiles(url, "copy of a run", pause_s=pause_s)
        self.writer = MirrorWriter(self.files, log, silent_s=silent_s)
        self.added = AddedResults(self.files)
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
        found = self.index()
        if found is None:
            self._start_without(self.shown)
            return
        found = self.added.over(found)
        begun = (self.folder / run_files.MANIFEST).is_file() and not self.only_fetched()
        if begun:
            self.check_identity(found)
        here = max(step_folders(self.folder / run_files.CHECKPOINTS), default=-1)
        if begun and here >= found["step"]:
            self.bring(self.folder, found, lambda name: "added" in found["files"][name])
            return
        step = f"step {found['step']} of " if found["step"] >= 0 else ""
        self._log(f"fetching {step}the run from {self.shown}")
        with files.atomic_dir(self.folder) as made:
            self.bring(made, found, reused=self.folder)
            for name in self._own_names(found):
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.folder / name, made / name)

    def _own_names(self, found: Mapping[str, Any]) -> list[str]:
        """Lists what others put into the folder: the record of a launch, or results that did not come to the address."""
        new = [name for name in self.names() if name not in found["files"] and step_of(name) is None]
        if not self.only_fetched():
            return [name for name in new if not name.startswith(f"{run_files.CHECKPOINTS}/")]
        ours = self.own_identity() == found["identity"]
        return [name for name in new if ours and name.startswith(RESULTS)]

    def _start_without(self, shown: str) -> None:
        """Makes the folder ready for a run of which nothing is at the address."""
        if self.only_fetched():  # of a copy that was deleted since, to begin anew
            shutil.rmtree(self.folder)
        elif (self.folder / run_files.MANIFEST).is_file():
            self._log(f"nothing is at {shown} yet; the run is the one in {self.folder}")

    def only_fetched(self) -> bool:
        """Tells whether files of the copy lie in the folder that readers fetched, and nobody trained there."""
        return (self.folder / FETCHED).is_file()

    def check_identity(self, found: Mapping[str, Any]) -> None:
        """Checks that the copy is of the run in the folder.

        Raises:
            UserError: it is of another.
        """
        if self.own_identity() != found["identity"]:
            raise UserError(
                f"{self.shown} holds the copy of another run than {str(self.folder)!r}. Name another address, or another "
                "MODEL_DIR; where it is the address that is MODEL_DIR, remove that folder or what is at the address."
            )

    def bring(
        self,
        to: Path,
        found: Mapping[str, Any],
        wanted: Callable[[str], bool] = lambda name: True,
        *,
        reused: Path | None = None,
    ) -> None:
        """Writes the files of the copy into a folder, each compared with its digest; one that is there already stays.

        Args:
            to: the folder.
            found: of ``index``, or with added results.
            wanted: asked of each file's path whether it is fetched.
            reused: a folder from which files are taken that are the same there.

        Raises:
            UserError: the copy cannot be read, or is damaged.
        """
        for name, entry in found["files"].items():
            if not wanted(name) or _is_there(to / name, entry):
                continue
            with files.atomic_file(to / name) as path:
                if reused is not None and _is_there(reused / name, entry):
                    shutil.copyfile(reused / name, path)
                    continue
                try:
                    self.files.fetch(entry["digest"], path, *entry.get("added", (OBJECTS,)), entry["digest"])
                except FileNotFoundError as error:
                    raise UserError(
                        f"{self.shown} lacks the content of {name}: another process writes there, or somebody deleted it."
                    ) from error

    def upload(self) -> None:
        """Makes the copy what the folder is now: what is new of it, then the index, then away with what is old.

        Raises:
            RunHeldError: another process writes there.
            UserError: the address takes nothing, after several attempts.
        """
        self.writer.check()
        identity = self._identity()
        before = self._index or {"files": {}}
        there = {entry["digest"] for entry in before["files"].values()}
        entries: dict[str, dict[str, Any]] = {}
        with self._held() as checkpoints:
            logged = [name for name in self.names() if step_of(name) is None]
            for name in (*checkpoints, *logged):  # in this order: what is logged is never behind what is saved
                with contextlib.suppress(FileNotFoundError), self._still(name, checkpoints.get(name)) as path:
                    size, digest = path.stat().st_size, self._digest(name, path)
                    if digest not in there:
                        self.files.put(path, OBJECTS, digest)
                        there.add(digest)
                    entries[name] = {"digest": digest, "bytes": size}
        steps = [step for step in map(step_of, entries) if step is not None]
        index = {"format": FORMAT, "identity": identity, "step": max(steps, default=-1), "files": entries}
        if index["files"] != before["files"]:
            self.files.write(json.dumps(index, indent=1), INDEX)
            self._index = index
            for digest in sorted(there - {entry["digest"] for entry in entries.values()}):
                self.files.remove(OBJECTS, digest)
        self.added.forget(entries)
        page = self.folder / run_files.REPORT
        if page.is_file():
            self.put_page(page)

    def put_page(self, page: Path) -> None:
        """Writes the page of the run under its own name."""
        self.files.put(page, run_files.REPORT)

    def _identity(self) -> str:
        """The name by which the run and its copy know each other; the folder gets one where it has none."""
        own = self.own_identity()
        if own is None:
            own = str(self._index["identity"]) if self._index else secrets.token_hex(16)
            files.atomic_write_text(self.folder / IDENTITY, json.dumps({"identity": own}) + "\n")
        return own

    def own_identity(self) -> str | None:
        """The name by which the folder knows its copy; ``None`` where it has none."""
        try:
            return str(json.loads((self.folder / IDENTITY).read_text(encoding="utf-8"))["identity"])
        except (OSError, ValueError, KeyError):
            return None

    def names(self) -> list[str]:
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


def step_of(name: str) -> int | None:
    """The step of the checkpoint that a file of a run's folder is in; ``None`` for others."""
    found = _OF_STEP.match(name)
    return int(found[1]) if found else None


def _is_there(path: Path, entry: Mapping[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == entry["bytes"] and digest_of_file(path) == entry["digest"]
