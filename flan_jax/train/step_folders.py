"""The folder of a run's checkpoints as it lies on the disk: which steps are whole, and what becomes of the others.

DIRECTORY/STEP/           a checkpoint
DIRECTORY/.deleted/STEP/  one that is not kept any more: it has left the list at once, and its files go later
DIRECTORY/damaged-STEP/   one whose files are not those that were written; nobody reads it
DIRECTORY/diverged-STEP/  one whose weights the next step proved useless
"""

import fnmatch
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError

DELETED = ".deleted"
_LOG = logging.getLogger(__name__)

Damage = Callable[[Path], str | None]
"""What is wrong with a step's folder, in a few words."""


class ChosenStep:
    """Preserves one step, whichever it is at the time."""

    def __init__(self) -> None:
        self.step: int | None = None

    def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
        """Says so of each checkpoint, as orbax asks it."""
        return [checkpoint.step == self.step for checkpoint in checkpoints]


def check_name(directory: Path) -> Path:
    """Returns a folder in which checkpoints can be saved and read again.

    Orbax looks for its files with a pattern that begins with the folder's path: in a folder `[x]` it finds none, and what
    it saves there cannot be read.

    Raises:
      UserError: a name on the way to it matches other names than itself.
    """
    strange = next((name for name in directory.parts if not fnmatch.fnmatchcase(name, name)), None)
    if strange is not None:
        raise UserError(
            f"Checkpoints cannot be kept in {str(directory)!r}: the name {strange!r} in it is read as a pattern. Choose a "
            "folder, or rename that one, without square brackets."
        )
    return directory


def step_folders(directory: Path) -> dict[int, Path]:
    """Step → its folder, newest first; without those in which no file is left, as a kill while deleting leaves them."""
    found = [path for path in directory.iterdir() if _is_step(path)] if directory.is_dir() else []
    return {int(path.name): path for path in sorted(found, key=lambda path: -int(path.name)) if not _is_empty(path)}


def set_bad_aside(directory: Path, damage: Damage, *, writes: bool, beside: str = "") -> None:
    """Makes the newest checkpoint of a folder one that is whole; says of each newer one why it is not used.

    Args:
      directory: of the checkpoints.
      damage: tells what is wrong with one.
      writes: this process moves what is not whole; of several, one.
      beside: what is used where none is whole, in a few words; "" for nothing.

    Raises:
      UserError: there are checkpoints, none is whole and nothing stands beside them; each stays where it is.
    """
    bad: dict[int, str] = {}
    newest = None
    for step, folder in step_folders(directory).items():
        wrong = damage(folder)
        if wrong is None:
            newest = step
            break
        bad[step] = wrong
    if bad and newest is None and not beside:
        raise UserError(
            f"None of the checkpoints in {str(directory)!r} is whole: {next(iter(bad.values()))}. Put a whole copy back, or "
            "remove that folder to train from the beginning."
        )
    used = beside if newest is None else f"the one of step {newest} is used"
    for step, wrong in bad.items():
        aside = f"damaged-{step}"
        _LOG.warning(f"The checkpoint of step {step} is damaged ({wrong}) and kept aside as {aside}; {used}.")
        if writes:
            set_aside(directory, step, "damaged")
    if writes and directory.is_dir():
        purge(directory)
        for path in directory.iterdir():
            if _is_step(path) and _is_empty(path):
                shutil.rmtree(path, ignore_errors=True)


def set_aside(directory: Path, step: int, why: str) -> Path:
    """Takes a step out of the list, under a name that says why; returns its new place."""
    aside = directory / f"{why}-{step}"
    shutil.rmtree(aside, ignore_errors=True)  # of an earlier time
    os.replace(directory / str(step), aside)
    return aside


def take_back(directory: Path) -> int | None:
    """Puts the newest step that was deleted last back into the list, where its files are still there."""
    deleted = step_folders(directory / DELETED)
    if not deleted:
        return None
    step, folder = next(iter(deleted.items()))
    os.replace(folder, directory / str(step))
    return step


def purge(directory: Path, steps: list[Path] | None = None) -> None:
    """Frees the space of steps that were deleted: of all, or of these."""
    for path in [directory / DELETED] if steps is None else steps:
        shutil.rmtree(path, ignore_errors=True)


def _is_step(path: Path) -> bool:
    return path.name.isdecimal() and path.is_dir()


def _is_empty(folder: Path) -> bool:
    return not any(names for _, _, names in os.walk(folder))
