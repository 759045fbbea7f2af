"""One run at a time writes into MODEL_DIR: a lock that names its owner and survives the owner's crash.

The file `run.lock` says machine, process, when that process started and since when it holds the lock. The operating
system's lock on it (flock) ends with its owner, however that ends; where a file system shares it with other machines
or has none, the process's number and start and a heartbeat (the file's time, renewed every half minute) tell.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from flan_jax.errors import UserError
from flan_jax.experiments.run_folder.heartbeat import heartbeat
from flan_jax.experiments.run_folder.process_identity import lives_here, this_process
from flan_jax.files import writing

LOCK = "run.lock"
HEARTBEAT_S = 30.0
DEAD_AFTER_S = 600.0
"""Without a heartbeat for so long, the owner on another machine is taken for dead."""
SILENT_S = 4 * HEARTBEAT_S
"""... and one of this machine's name, from before it was started again."""


@contextlib.contextmanager
def run_lock(folder: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Holds the lock of a run's folder; of several processes of one run, the first does.

    Raises:
        RunHeldError: another run is writing there.
    """
    if jax.process_index() != 0:
        yield
        return
    path = folder / LOCK
    with writing(path):
        descriptor = _acquired(path, log)
    try:
        with heartbeat(lambda: os.utime(path), every_s=HEARTBEAT_S, name="run-lock", missed=OSError):
            yield
    finally:
        with contextlib.suppress(OSError):  # before it is unlocked, so that whoever opened it sees that it is gone
            path.unlink()
        os.close(descriptor)


def _acquired(path: Path, log: Callable[[str], None]) -> int:
    for _ in range(16):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            free = _flock(descriptor)
            try:
                current = os.fstat(descriptor).st_ino == os.stat(path).st_ino
            except FileNotFoundError:
                current = False
            if current:
                owner = _owner(descriptor)
                if owner and _lives(owner, path, free=free):
                    raise _held(path, owner)
                if free is False and not owner:
                    raise _held(path, {"host": "unknown", "pid": "unknown"})  # it is being taken this moment
                if owner:
                    log(
                        f"taking over {path.parent} from a run that ended without a word (process {owner.get('pid')} on "
                        f"{owner.get('host')}, since {owner.get('since')})"
                    )
                if free is False:  # a process that the dead owner left behind holds it still
                    path.unlink(missing_ok=True)
                else:
                    _sign(descriptor)
                    kept, descriptor = descriptor, -1
                    return kept
        finally:
            if descriptor >= 0:
                os.close(descriptor)
    raise UserError(f"{str(path)!r} cannot be locked: others keep taking it. Let one run at a time write there.")


def _flock(descriptor: int) -> bool | None:
    """Tells whether the lock is ours now; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


def _owner(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}  # just made, or cut short by a crash
    return found if isinstance(found, dict) else {}


def _lives(owner: Mapping[str, Any], path: Path, *, free: bool | None) -> bool:
    here = lives_here(owner)
    if here is not None:
        return here and free is not True  # the system's lock ends with its owner
    # This machine may have been started again since, or two may have one name.
    silent = SILENT_S if owner.get("host") == socket.gethostname() else DEAD_AFTER_S
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime < silent
    return False


class RunHeldError(UserError):
    """Another process is writing into the run's folder: nothing is wrong with the run, and it may be tried again."""


def _held(path: Path, owner: Mapping[str, Any]) -> RunHeldError:
    return RunHeldError(
        f"Another run is writing into {str(path.parent)!r}: process {owner.get('pid')} on {owner.get('host')}, since "
        f"{owner.get('since', 'just now')}. Wait for it or stop it, or choose another MODEL_DIR. (If it is dead on another "
        f"machine, its lock ends by itself {DEAD_AFTER_S / 60:.0f} minutes after its last sign of life.)"
    )


def _sign(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, (json.dumps(this_process()) + "\n").encode(), 0)
    os.fsync(descriptor)
