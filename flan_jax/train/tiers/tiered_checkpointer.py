"""Checkpoints in two tiers: often in a fast folder of this machine, now and then in the run's own, which is shared.

DIRECTORY/STEP/       a checkpoint of the shared tier, from which everything reads that is no training of the run
DIRECTORY/local.json  where the fast ones lie: of this run alone, by a name that a new run in its place does not have
LOCAL_DIR/NAME/STEP/  a checkpoint of the fast tier

A run that is continued goes on from the newest one that is whole, whichever tier has it.
"""

import dataclasses
import json
import logging
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from flan_jax import files
from flan_jax.errors import UserError
from flan_jax.train.checkpoint import Checkpointer, Restored
from flan_jax.train.checkpoint_config import CheckpointConfig
from flan_jax.train.state import TrainState
from flan_jax.train.step_folders import step_folders

RECORD = "local.json"
KEPT = 2
"""Checkpoints that stay in the fast tier: the newest, and one to go back to where that is damaged."""
_LOG = logging.getLogger(__name__)


def open_checkpointer(
    directory: Path, options: CheckpointConfig, *, config: Mapping[str, Any] | None = None
) -> Checkpointer:
    """Opens the checkpoints of a run that trains, in one tier or in two, as its options say.

    Raises:
      UserError: as `Checkpointer`; two tiers for several processes.
    """
    if options.local_dir:
        return TieredCheckpointer(directory, options, config=config)
    fast, shared = _newest(_recorded(directory)), max(step_folders(directory), default=-1)
    if fast > shared:
        _LOG.warning(
            f"{str(_recorded(directory))!r} holds a checkpoint of step {fast}, newer than any in {str(directory)!r}, and is "
            "not read, as CHECKPOINT_LOCAL_DIR is not set."
        )
    return Checkpointer(directory, options, config=config)


def newest_saved(directory: Path) -> int | None:
    """Returns the newest step that is saved in either tier of a folder of checkpoints, whole or not; None for none."""
    newest = max(_newest(_recorded(directory)), max(step_folders(directory), default=-1))
    return None if newest < 0 else newest


def _recorded(directory: Path) -> Path | None:
    """The folder of the fast tier that a folder of checkpoints names."""
    try:
        return Path(json.loads((directory / RECORD).read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _newest(folder: Path | None) -> int:
    return -1 if folder is None else max(step_folders(folder), default=-1)


def _fast_folder(directory: Path, local_dir: Path) -> Path:
    """The folder of the fast tier below `local_dir`: the one that was used before, or a new one, which is written down.

    Raises:
      UserError: it cannot be made.
    """
    before = _recorded(directory)
    folder = local_dir / (before.name if before is not None else f"{directory.parent.name}-{secrets.token_hex(6)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"CHECKPOINT_LOCAL_DIR {str(local_dir)!r} takes no folder: {error.strerror}. Name one that this machine may "
            "write to, or leave it out."
        ) from error
    if before is not None and before != folder and _newest(before) >= 0:
        _LOG.warning(
            f"Checkpoints of this machine lay in {str(before)!r} so far; from now on they lie in {str(folder)!r}, and those "
            "are not read."
        )
    if before != folder:
        directory.mkdir(parents=True, exist_ok=True)
        files.atomic_write_text(directory / RECORD, json.dumps({"folder": str(folder)}, indent=1) + "\n")
    return folder


class TieredCheckpointer(Checkpointer):
    """Saves and restores the checkpoints of one run in two tiers.

    What lasts is saved in the shared tier: the steps of `CheckpointConfig.period`, the last one, and the one at which
    training is told to stop. The steps of `local_period` between them are saved in the fast tier alone, of which the
    newest `KEPT` stay. Where the fast tier takes no more, that is said, and training goes on.

    Args:
      directory: the shared tier.
      options: with `local_dir` and `local_period`.
      config: as `Checkpointer`.

    Raises:
      UserError: several processes, whose parts of a checkpoint would lie on several machines; or as `Checkpointer`,
        where no step of either tier is whole.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        options: CheckpointConfig,
        *,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        if jax.process_count() > 1:
            raise UserError(
                "CHECKPOINT_LOCAL_DIR is for runs of one process: the parts of a checkpoint that several write would lie on "
                "several machines. Leave it out."
            )
        shared, fast = Path(directory).absolute(), Path(options.local_dir).expanduser().absolute()
        of_fast = dataclasses.replace(options, keep=KEPT, keep_period=0)
        # The fast tier first: where none of its steps is whole, the shared ones are there.
        self._local = Checkpointer(
            _fast_folder(shared, fast), of_fast, config=config, beside=f"those in {str(shared)!r} are used"
        )
        newest = self._local.latest_step()
        beside = "" if newest is None else f"the one of step {newest} in {str(self._local.directory)!r} is used"
        super().__init__(shared, options, config=config, beside=beside)
        newer = newest is not None and newest > max(self._own_steps(), default=-1)
        if newer:
            _LOG.warning(
                f"Step {newest} is newest in {str(self._local.directory)!r}, the tier of this machine, and is used."
            )

    def steps(self) -> list[int]:
        """Returns the steps that either tier has, ascending."""
        return sorted({*self._own_steps(), *self._local.steps()})

    def save(
        self,
        step: int,
        state: TrainState,
        data_position: Mapping[str, Any],
        extra: Mapping[str, Any] | None = None,
        *,
        lasting: bool = True,
    ) -> None:
        """Begins to save in the shared tier, or what need not last in the fast one; as `Checkpointer.save`."""
        if lasting:
            super().save(step, state, data_position, extra)
        else:
            self._unless_full(lambda: self._local.save(step, state, data_position, extra))

    def wait(self) -> None:
        """Returns when every save of both tiers is complete on disk."""
        self._unless_full(self._local.wait)
        super().wait()

    def close(self) -> None:
        """Waits for the saves of both tiers, and releases their threads."""
        try:
            self._unless_full(self._local.close)
        finally:
            super().close()

    def withdraw(self, step: int, why: str) -> int | None:
        """Takes a step out of the lists of both tiers and keeps it aside; returns the newest one that is left."""
        if step in self._local.steps():
            self._local.withdraw(step, why)
        if step in self._own_steps():
            super().withdraw(step, why)
        return self.latest_step()

    def restore(self, like: TrainState, step: int | None = None) -> Restored:
        """Reads a checkpoint onto devices, the newest of both tiers by default; as `Checkpointer.restore`."""
        return self._local.restore(like, step) if self._is_fast(step) else super().restore(like, step)

    def restore_params(
        self, like: Any, step: int | None = None, *, part: str = "params", matching: Sequence[str] = ()
    ) -> Any:
        """Reads the trained parameters alone; as `Checkpointer.restore_params`."""
        if self._is_fast(step):
            return self._local.restore_params(like, step, part=part, matching=matching)
        return super().restore_params(like, step, part=part, matching=matching)

    def config(self, step: int | None = None) -> dict[str, Any]:
        """Returns the configuration that the run which saved the checkpoint was given."""
        return self._local.config(step) if self._is_fast(step) else super().config(step)

    def extra(self, step: int | None = None) -> dict[str, Any]:
        """Returns what the caller added to a checkpoint."""
        return self._local.extra(step) if self._is_fast(step) else super().extra(step)

    def _is_fast(self, step: int | None) -> bool:
        """Tells whether a step (default the newest) is read from the fast tier, which has it alone or as well."""
        step = self.latest_step() if step is None else step
        return step is not None and step in self._local.steps()

    def _unless_full(self, save: Callable[[], None]) -> None:
        try:
            save()
        except files.WritingError as error:
            _LOG.warning(
                f"The tier of this machine is left out: {error} Training goes on, with the shared checkpoints."
            )
