"""Uploading a run while it trains: after every checkpoint and every evaluation, and when it ends."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from flan_jax.errors import UserError
from flan_jax.eval.results import saved_steps
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.run_folder.mirror import RunMirror
from flan_jax.train.step_folders import step_folders

_LOOK_EVERY_S = 5.0


@contextlib.contextmanager
def mirrored(
    mirror: RunMirror, log: Callable[[str], None] = lambda line: None, *, look_every_s: float = _LOOK_EVERY_S
) -> Iterator[None]:
    """Keeps the copy of a run's folder up to date inside, in a thread of its own, and at the end once more.

    An address that takes nothing for a while hinders no training: it is said, and tried again with the next checkpoint.

    Args:
        mirror: the copy.
        log: told in a sentence what could not be uploaded.
        look_every_s: seconds between two looks for what is new.

    Raises:
        UserError: at the end, the copy could not be brought up to date.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(mirror, log, ended, look_every_s), name="mirror", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        _end(thread, ended)
        with contextlib.suppress(Exception):  # it would hide the error that ends the work
            _upload_begun(mirror)
        raise
    _end(thread, ended)
    _upload_begun(mirror)


def _upload_begun(mirror: RunMirror) -> None:
    """Uploads a run that has begun: of one that was refused before it did, nothing is kept."""
    if (mirror.folder / run_files.MANIFEST).is_file():
        mirror.upload()


def _end(thread: threading.Thread, ended: threading.Event) -> None:
    ended.set()
    thread.join()


def _follow(mirror: RunMirror, log: Callable[[str], None], ended: threading.Event, look_every_s: float) -> None:
    uploaded = _reached(mirror)
    while not ended.wait(look_every_s):
        reached = _reached(mirror)
        if reached == uploaded:
            continue
        try:
            mirror.upload()
            uploaded = reached
        except UserError as error:
            log(f"{error} Training goes on.")
            uploaded = reached
        except OSError as error:
            log(f"the folder cannot be read for its copy ({error}). Training goes on.")


def _reached(mirror: RunMirror) -> tuple[list[int], list[int]]:
    """The steps that are saved, and those that are measured."""
    return sorted(step_folders(mirror.folder / run_files.CHECKPOINTS)), saved_steps(mirror.folder)
