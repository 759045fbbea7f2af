"""Claims: several processes share the work of one folder, and nothing is done by two of them at a time.

What is claimed has a folder with a numbered file a claim, `000001.json`, `000002.json`, …; the newest holds, until it is
marked as released or its owner is dead. Whoever takes over makes the next number, and a file system lets only one do that
(`link`, or `O_EXCL` where it has no links). The owner renews the time of its file; a process of this machine that is gone
is known at once, any other by the age of that time.

The folder may be on a file system that several machines share (NFS), whose clients remember for a while what a folder
holds, and may be told that a link exists which they have made themselves, as the first answer was lost. So a folder is
changed before it is read where the newest claim decides, and a link is looked at where its making was refused. No lock of
the file system is asked for.
"""

import contextlib
import dataclasses
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from flan_jax.experiments.run_folder.process_identity import lives_here, this_process
from flan_jax.files import atomic_write_text, temporary_name, writing

HEARTBEAT_S = 30.0
DEAD_AFTER_S = 600.0
"""A claim whose heartbeat is older is taken over, wherever its owner is."""
PREPARING = "prepare"
"""The claim under which the store of a study is filled."""
_POLL_S = 0.05
_LONGEST_POLL_S = 1.0
_TRIES = 16
Log = Callable[[str], None]


class LostClaimError(Exception):
    """A claim was taken over, as its heartbeat had stopped for too long: what it covered is another process's now."""


@dataclasses.dataclass(frozen=True)
class Owner:
    """The holder of a claim.

    Attributes:
        host, pid, since: of the process that holds it; ``""`` and 0 where the file does not say.
        age_s: seconds since its last heartbeat.
    """

    host: str
    pid: int
    since: str
    age_s: float


class Claim:
    """A claim that this process holds, until it is released or taken over."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def held(self) -> bool:
        """True while it is the newest one of what it covers."""
        folder = self.path.parent
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=folder):  # else the list may be an old one
            pass
        return _newest(folder) == self.path

    def check(self) -> None:
        """Makes sure that it is held.

        Raises:
            LostClaimError: another process took it over.
        """
        if not self.held:
            raise LostClaimError(f"{self.path.parent.name} was taken over by another process.")

    def beat(self) -> None:
        """Renews its time."""
        with contextlib.suppress(OSError):
            os.utime(self.path)


class Claims:
    """The claims that this process holds in a folder, and their heartbeat. A context: at its end all are released.

    Args:
        folder: holds a folder for each thing that is claimed; made with the first claim.
        heartbeat_s: seconds between two heartbeats.
        dead_after_s: the age of a heartbeat from which on a claim is taken over.
        log: told in a sentence what is taken over.
    """

    def __init__(
        self,
        folder: Path,
        *,
        heartbeat_s: float = HEARTBEAT_S,
        dead_after_s: float = DEAD_AFTER_S,
        log: Log = lambda line: None,
    ) -> None:
        self._folder, self._heartbeat_s, self._dead_after_s, self._log = folder, heartbeat_s, dead_after_s, log
        self._held: dict[str, Claim] = {}
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None

    def __enter__(self) -> "Claims":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._heart is not None:
            self._heart.join()
        for claim in [*self._held.values()]:
            with contextlib.suppress(OSError):  # a disk that takes nothing: the claim ends with this process
                self.release(claim)

    def take(self, name: str) -> Claim | None:
        """Claims ``name``; ``None`` where a living process holds it, this one included.

        Raises:
            WritingError: the file system takes no more.
        """
        folder = self._folder / name
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for _ in range(_TRIES):
                newest = _newest(folder)
                if newest is not None and self._lives(newest):
                    return None
                claim = Claim(folder / f"{1 if newest is None else int(newest.stem) + 1:06}.json")
                if not _create(claim.path):
                    continue  # another process was faster
                if not claim.held:  # ours is older than one that was made and tidied up after while we looked
                    claim.path.unlink(missing_ok=True)
                    continue
                self._taken(name, claim, newest)
                return claim
        return None

    def _taken(self, name: str, claim: Claim, before: Path | None) -> None:
        content = _read(before) if before is not None else None
        if content is not None and not content.get("released"):
            self._log(
                f"taking over {name} from a process that ended without a word (process {content.get('pid')} on "
                f"{content.get('host')}, since {content.get('since')})"
            )
        for path in _files(claim.path.parent):
            if path.name < claim.path.name:
                path.unlink(missing_ok=True)
        self._held[name] = claim
        if self._heart is None:
            self._heart = threading.Thread(target=self._beat, name="claims", daemon=True)
            self._heart.start()

    def release(self, claim: Claim) -> None:
        """Lets others claim it. Of one that was taken over, nothing is changed."""
        self._held.pop(claim.path.parent.name, None)
        if claim.held:
            # The file stays: its number is what makes the next claim's one of a kind.
            atomic_write_text(claim.path, json.dumps({**this_process(), "released": True}) + "\n")

    @contextlib.contextmanager
    def holding(self, name: str, waiting: Callable[[Owner], None] = lambda owner: None) -> Iterator[Claim]:
        """Holds ``name`` inside; waits until it is free.

        Args:
            name: what is claimed.
            waiting: told once who holds it, where that takes more than a moment.
        """
        pause, told = _POLL_S, False
        while (claim := self.take(name)) is None:
            time.sleep(pause)
            owner = self.owner(name) if pause == _LONGEST_POLL_S and not told else None
            if owner is not None:
                waiting(owner)
                told = True
            pause = min(2 * pause, _LONGEST_POLL_S)
        try:
            yield claim
        finally:
            self.release(claim)

    def owner(self, name: str) -> Owner | None:
        """Returns who holds ``name`` and lives; ``None`` where it is free."""
        newest = _newest(self._folder / name)
        if newest is None or not self._lives(newest):
            return None
        found = _read(newest)
        pid = found.get("pid")
        with contextlib.suppress(FileNotFoundError):  # it was succeeded this moment, which the next look will show
            age = _age(newest)
            return Owner(
                str(found.get("host", "")), pid if isinstance(pid, int) else 0, str(found.get("since", "")), age
            )
        return None

    def _lives(self, path: Path) -> bool:
        found = _read(path)
        if found.get("released") or lives_here(found) is False:
            return False
        try:
            return _age(path) < self._dead_after_s
        except FileNotFoundError:  # its successor tidied it up: whoever that is, it lives
            return True

    def _beat(self) -> None:
        while not self._ended.wait(self._heartbeat_s):
            for claim in [*self._held.values()]:
                claim.beat()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if path.stem.isdecimal()) if folder.is_dir() else []


def _newest(folder: Path) -> Path | None:
    found = _files(folder)
    return found[-1] if found else None


def _read(path: Path) -> dict[str, Any]:
    """Returns what a claim says; ``{}`` where it says nothing yet: then its age decides."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _create(path: Path) -> bool:
    """Makes a claim's file with its content; tells whether it was this process that made it."""
    temporary = path.with_name(temporary_name(path.name))
    text = json.dumps(this_process()) + "\n"
    try:
        temporary.write_text(text, encoding="utf-8")
        os.link(temporary, path)
    except FileExistsError:
        # A server that lost its answer is asked again, and finds the link that it made itself.
        return os.stat(temporary).st_nlink > 1
    except OSError:  # no links here, or no space, which the next line says again
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _age(path: Path) -> float:
    """Returns the seconds since a file was touched, by the clock of the machine that keeps it: two machines' may differ."""
    touched = path.stat().st_mtime
    try:
        with tempfile.TemporaryFile(dir=path.parent) as now:
            return os.fstat(now.fileno()).st_mtime - touched
    except OSError:  # a folder that may only be read
        return time.time() - touched
