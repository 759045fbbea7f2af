"""A run at an address as others read it: what they need of it is fetched into its staging folder, and their results go back."""

import contextlib
import datetime
import functools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flan_jax import files
from flan_jax.data.sources.hub_models import model_folder as hub_or_folder
from flan_jax.errors import UserError
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.run_folder.mirror import FETCHED, RESULTS, RunMirror, step_of
from flan_jax.experiments.run_folder.staging import check_address, is_address, staging_folder
from flan_jax.store.manifest import digest_of_file
from flan_jax.train.step_folders import step_folders

Log = Callable[[str], None]


def fetch_run(
    address: str,
    *,
    step: int | None = None,
    weights: bool = True,
    name: str = "MODEL_DIR",
    log: Log = lambda line: None,
) -> RunMirror:
    """Fetches a run into its staging folder, as far as it is not there: what describes it, and one checkpoint.

    A folder in which this machine trained, and which is as far as the copy, stays as it is. Several processes may do this
    at once.

    Args:
        address: of the run.
        step: of the checkpoint; ``None`` for the newest, and so is 0 where no checkpoint has it: a run's beginning is
            made from its description.
        weights: fetch a checkpoint at all.
        name: of the setting that holds the address.
        log: told in a sentence what is fetched.

    Returns:
        The copy, whose ``folder`` is the run's.

    Raises:
        UserError: there is no run at the address, or no such step; it cannot be read.
    """
    check_address(address, name)
    mirror = RunMirror(address, staging_folder(address), log)
    found = mirror.index()
    if found is None:
        raise UserError(
            f"There is no run at {mirror.shown}. Give an address that was MODEL_DIR of `flan-jax train`, or its --mirror."
        )
    folder = mirror.folder
    trained = (folder / run_files.MANIFEST).is_file() and not mirror.only_fetched()
    if trained:
        mirror.check_identity(found)
        if max(step_folders(folder / run_files.CHECKPOINTS), default=-1) >= found["step"]:
            return mirror
    elif folder.exists() and mirror.own_identity() != found["identity"]:  # of a run that was there before
        shutil.rmtree(folder)
    with files.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FETCHED).touch()
    found = mirror.added.over(found)
    mirror.bring(folder, found, lambda path: step_of(path) is None)
    if weights:
        _bring_step(mirror, found, step, log)
    return mirror


def _bring_step(mirror: RunMirror, found: Mapping[str, Any], step: int | None, log: Log) -> None:
    """Fetches a checkpoint, which is there whole or not at all; those that the run has no more go."""
    steps = sorted({own for path in found["files"] if (own := step_of(path)) is not None})
    checkpoints = mirror.folder / run_files.CHECKPOINTS
    for gone in set(step_folders(checkpoints)) - set(steps):
        shutil.rmtree(checkpoints / str(gone), ignore_errors=True)
    if step is not None and step not in steps and step != 0:
        held = " and ".join(map(str, steps)) if steps else "none at all"
        raise UserError(f"{mirror.shown} has no checkpoint of step {step}; it has {held}. Choose another --step.")
    chosen = step if step in steps else max(steps, default=None)
    # The newest stays the newest of those that are here: whoever names no step takes that.
    if chosen is None or (checkpoints / str(chosen)).is_dir():
        return
    log(f"fetching step {chosen} of the run from {mirror.shown}")
    with files.writing(checkpoints):
        checkpoints.mkdir(exist_ok=True)
        files.remove_leftovers(checkpoints)
        temporary = checkpoints / files.temporary_name(str(chosen))
        try:
            mirror.bring(temporary, found, lambda path: step_of(path) == chosen)
            with contextlib.suppress(OSError):  # another process was first, and its files are the same
                os.rename(temporary / run_files.CHECKPOINTS / str(chosen), checkpoints / str(chosen))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def results_returned(mirror: RunMirror) -> Iterator[None]:
    """Writes to the address, at the end, what was measured of a fetched run inside, and its page.

    Raises:
        UserError: the address takes nothing; the results are in the folder all the same, and the sentence says so.
    """
    yield
    found = mirror.index()
    if found is None:
        raise UserError(f"{mirror.shown} is gone. The results are in {mirror.folder}.")
    known = mirror.added.over(found)["files"]
    own = {name: mirror.folder / name for name in mirror.names() if name.startswith(RESULTS)}
    new = {name: (path, digest_of_file(path)) for name, path in own.items()}
    new = {name: pair for name, pair in new.items() if known.get(name, {}).get("digest") != pair[1]}
    try:
        if new:
            now = datetime.datetime.now(datetime.UTC).isoformat()
            mirror.added.add(found["identity"], now, new)
        if (page := mirror.folder / run_files.REPORT).is_file():
            mirror.put_page(page)
    except UserError as error:
        raise UserError(f"{error} The results are in {mirror.folder}.") from error


def model_folder(name: str | Path, *, weights: bool = True) -> Path:
    """Returns the folder of a model: one of this machine, a model of the hub, or a run at an address, which is fetched.

    Args:
        name: as ``INITIAL_CHECKPOINT_PATH`` has it.
        weights: of a run at an address, fetch its newest checkpoint too.

    Raises:
        UserError: it is none of these.
    """
    return _fetched_once(str(name), weights) if is_address(str(name)) else hub_or_folder(name)


@functools.cache
def _fetched_once(address: str, weights: bool) -> Path:
    return fetch_run(address, weights=weights, name="INITIAL_CHECKPOINT_PATH").folder
