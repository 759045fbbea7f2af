"""Checkpoints with orbax: the state as a plain nested dictionary, everything else as JSON.

A checkpoint `DIRECTORY/STEP/` has three items: `state` (arrays), `data` (where the batches stood) and
`run` (the configuration, and what the caller adds). Nothing is pickled. A step
appears under its name when all of it is written and summed (`flan_jax.train.checksums`); a save that was killed leaves
nothing to restore, and what was damaged since is refused.
"""

import contextlib
import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, EveryNSteps, LatestN

from flan_jax import files
from flan_jax.errors import UserError
from flan_jax.train.checkpoint_config import CheckpointConfig
from flan_jax.train.checksums import CHECKSUMS, MARK, STEP, SummedPath, damage
from flan_jax.train.state import TrainState, check_same_shapes, from_plain_dict, present, selected, to_plain_dict
from flan_jax.train.step_folders import (
    DELETED,
    ChosenStep,
    check_name,
    purge,
    set_aside,
    set_bad_aside,
    step_folders,
    take_back,
)

PLAIN = CheckpointConfig()
# A small array that several devices hold is saved by the first alone: to save a part each, they would cut theirs out of
# it, which is compiled for every shape and device.
ARRAYS = ocp.type_handlers.create_type_handler_registry(
    (jax.Array, ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=1 << 20))
)
_LOG = logging.getLogger(__name__)
_QUIET = "flan_jax_ends_pending_quietly"

Json = dict[str, Any]


class Restored(NamedTuple):
    """The content of a checkpoint."""

    state: TrainState
    data_position: Json
    extra: Json


class Checkpointer:
    """Saves and restores one run's checkpoints; use it as a context manager, or call `close`.

    Args:
      directory: made where it does not exist, unless `create` is false.
      options: which checkpoints stay; `fit` reads there how often one is saved.
      config: JSON-like; what the run that saves is. It is written into every checkpoint, for the caller to
        judge (`config`).
      create: false where a checkpoint is only read. Otherwise the newest step is compared with its
        checksums, and what is damaged is set aside (`step_folders.set_bad_aside`).
      beside: what is used where there are steps and none is whole, in a few words; "" for nothing, which is refused.

    Raises:
      UserError: there is no such folder and `create` is false, its name is read as a pattern, or no step in it is
        whole.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        options: CheckpointConfig = PLAIN,
        *,
        config: Mapping[str, Any] | None = None,
        create: bool = True,
        beside: str = "",
    ) -> None:
        self.options = options
        self.directory = check_name(Path(directory).absolute())
        if not create and not self.directory.is_dir():
            raise UserError(
                f"There is no checkpoint folder {str(directory)!r}; name the folder of a run that saved one."
            )
        self._config: Json = json.loads(json.dumps(config or {}))  # as it will look when it is read back
        _end_pending_quietly()
        self._writes = create and jax.process_index() == 0
        self._whole: set[int] = set()  # steps whose files are as they were written
        self._purging: threading.Thread | None = None
        if create:
            set_bad_aside(self.directory, self._damage, writes=self._writes, beside=beside)
            _together("checkpoints that are whole")
        self._chosen = ChosenStep()
        policies: list[Any] = [LatestN(options.keep), self._chosen]
        policies += [EveryNSteps(options.keep_period)] if options.keep_period else []
        with self._reading("The checkpoints"), files.writing(self.directory):
            self._manager = ocp.CheckpointManager(
                self.directory,
                item_handlers={
                    "state": ocp.PyTreeCheckpointHandler(type_handler_registry=ARRAYS),
                    "data": ocp.JsonCheckpointHandler(),
                    "run": ocp.JsonCheckpointHandler(),
                },
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=AnyPreservationPolicy(policies),
                    create=create,
                    cleanup_tmp_directories=create,
                    temporary_path_class=SummedPath,
                    todelete_subdir=DELETED if create else None,
                    # Nothing here asks when a step was saved. Orbax does of a preempted run, and what a light beginning
                    # gives for the steps that were there (a time without a zone) is an error in its difference.
                    lightweight_initialize=not create,
                ),
            )

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(Exception):  # it would hide the error that ends the work
            self.close()

    def steps(self) -> list[int]:
        """Returns the steps that are there, ascending."""
        return self._own_steps()

    def _own_steps(self) -> list[int]:
        return sorted(step_folders(self.directory))

    def latest_step(self) -> int | None:
        """Returns the newest step that is there, or None."""
        return max(self.steps(), default=None)

    def save(
        self,
        step: int,
        state: TrainState,
        data_position: Mapping[str, Any],
        extra: Mapping[str, Any] | None = None,
        *,
        lasting: bool = True,
    ) -> None:
        """Begins to save; returns when the state is copied, so that its buffers may be donated.

        Files are written in the background: `wait` before the process ends. A step that is already
        there is left as it is.

        Args:
          data_position, extra: JSON-like.
          lasting: whether it has to outlive the machine; a checkpointer of one tier makes no difference.

        Raises:
          UserError: the disk takes no more, for this save or the one before it.
        """
        if step in self._manager.all_steps():
            return
        with self._saving():
            self._manager.wait_until_finished()
            self._purge()
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.PyTreeSave(to_plain_dict(state)),
                    data=ocp.args.JsonSave(dict(data_position)),
                    run=ocp.args.JsonSave(
                        {"config": self._config, "extra": dict(extra or {}), MARK: CHECKSUMS, STEP: step}
                    ),
                ),
                force=True,
            )

    def keep(self, step: int) -> None:
        """Keeps a step, and no more the one that was kept so before, beside those that the options keep."""
        self._chosen.step = step

    def wait(self) -> None:
        """Returns when every save is complete on disk; raises what a background save raised."""
        with self._saving():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for the saves, frees the space of those that are not kept, and releases the threads."""
        try:
            self.wait()
        finally:
            with contextlib.suppress(Exception):  # said by `wait`
                self._manager.close()
            if self._purging is not None:
                self._purging.join()
        if self._writes:
            purge(self.directory)

    def withdraw(self, step: int, why: str) -> int | None:
        """Takes a step out of the list and keeps it aside as `WHY-STEP`; returns the newest one that is left.

        Where none is left, the one that was deleted for this one comes back.
        """
        self.wait()
        if self._writes and step in self._own_steps():
            set_aside(self.directory, step, why)
            if not self.steps():
                take_back(self.directory)
        _together("a checkpoint was withdrawn")
        self._manager.reload()
        return self.latest_step()

    def _purge(self) -> None:
        """Frees the space of deleted steps beside the work: but for names, nothing waits for it."""
        if self._purging is not None:
            self._purging.join()
            self._purging = None
        deleted = list(step_folders(self.directory / DELETED).values()) if self._writes else []
        if deleted:
            self._purging = threading.Thread(target=purge, args=(self.directory, deleted), name="purge-checkpoints")
            self._purging.start()

    def restore(self, like: TrainState, step: int | None = None) -> Restored:
        """Reads a checkpoint onto devices.

        Args:
          like: a live state, or shapes with shardings (`state.abstract_sharded_state`): the structure
            expected and where each leaf shall live, on whatever mesh. What is frozen is in no checkpoint:
            the restored state has what `like` has.
          step: default the newest.

        Raises:
          UserError: no such checkpoint, or other shapes.
        """
        step = self._existing(step)
        run = self._read(step, run=ocp.args.JsonRestore()).run
        items = self._read(step, state=self._state_args(to_plain_dict(like), step), data=ocp.args.JsonRestore())
        return Restored(from_plain_dict(items.state, like), items.data, run["extra"])

    def restore_params(
        self, like: Any, step: int | None = None, *, part: str = "params", matching: Sequence[str] = ()
    ) -> Any:
        """Reads the trained parameters alone, for evaluation and export.

        Args:
          like: nested dict of arrays, or of `jax.ShapeDtypeStruct` with shardings.
          part: `params`, or `ema` for their average.
          matching: patterns of parameters, such as `encoder/.*`: nothing but these is read and returned, and the others
            need not be in the checkpoint, nor have its shapes; by default all.

        Raises:
          UserError: no such checkpoint, other shapes, no average in it, or a pattern that matches no parameter.
        """
        step = self._existing(step)
        like = selected(like, matching) if matching else like
        args = self._state_args({part: like}, step, part=part, partial=bool(matching))
        return self._read(step, state=args).state[part]

    def config(self, step: int | None = None) -> Json:
        """Returns the configuration that the run which saved the checkpoint was given."""
        return self._read(self._existing(step), run=ocp.args.JsonRestore()).run["config"]

    def extra(self, step: int | None = None) -> Json:
        """Returns what the caller added to a checkpoint."""
        return self._read(self._existing(step), run=ocp.args.JsonRestore()).run["extra"]

    def _read(self, step: int, **items: Any) -> Any:
        with self._reading(f"The checkpoint of step {step}", step):
            return self._manager.restore(step, args=ocp.args.Composite(**items))

    def _existing(self, step: int | None) -> int:
        """The step to read, whose files are as they were written."""
        step = self.check_step(step)
        if step not in self._whole:
            wrong = self._damage(self.directory / str(step))
            if wrong is not None:
                raise UserError(f"The checkpoint of step {step} is damaged: {wrong}. {self._others(step)}")
        return step

    def _others(self, step: int) -> str:
        others = [str(other) for other in reversed(self.steps()) if other != step]
        if not others:
            return f"There is no other in {str(self.directory)!r}; put a whole copy back."
        return (
            f"Put a whole copy back, take another step (there are {', '.join(others)}), or remove its folder, so that "
            f"step {others[0]} is the newest."
        )

    def _damage(self, folder: Path) -> str | None:
        """Says what is wrong with a step; several processes compare a share each, and agree."""
        processes = jax.process_count()
        wrong = damage(folder, (jax.process_index(), processes))
        if processes > 1:
            found = multihost_utils.process_allgather(np.asarray(wrong is not None))
            if np.any(found) and wrong is None:
                wrong = "another process found a file that is not as it was written"
        if wrong is None:
            self._whole.add(int(folder.name))
            if not (folder / CHECKSUMS).is_file():
                _LOG.warning(
                    f"The checkpoint of step {folder.name} in {str(self.directory)!r} has no checksums, as an earlier version "
                    "saved it: whether its files are still as they were written cannot be told."
                )
        return wrong

    @contextlib.contextmanager
    def _reading(self, what: str, step: int | None = None) -> Iterator[None]:
        """Says in one sentence that files which have no checksums, or are none of a checkpoint's, cannot be read."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if step is not None and (self.directory / str(step) / CHECKSUMS).is_file():
                raise  # they are as they were written
            if step is None and files.refusal(error) is not None:
                raise
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            others = self._others(step) if step is not None else "Remove what is none of a checkpoint's files."
            raise UserError(f"{what} in {str(self.directory)!r} cannot be read: {reason}. {others}") from error

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        """Says in one sentence that the disk takes no more; what was written of the step goes, to free its space."""
        try:
            yield
        except Exception as error:
            code = files.refusal(error)
            if code is None or isinstance(error, UserError):
                raise
            if self._writes:
                for path in self.directory.glob("*.orbax-checkpoint-tmp*"):
                    shutil.rmtree(path, ignore_errors=True)
            newest = max(self._own_steps(), default=None)
            kept = "No checkpoint was saved so far." if newest is None else f"The checkpoint of step {newest} is whole."
            raise files.WritingError(files.sentence(code, self.directory, kept)) from error

    def check_step(self, step: int | None) -> int:
        """Returns the step itself, or the newest for ``None``; raises a UserError where no checkpoint of it is there."""
        known = self.steps()
        if not known:
            raise UserError(f"The folder {str(self.directory)!r} holds no checkpoint; train there first.")
        if step is not None and step not in known:
            shown = ", ".join(map(str, known))
            raise UserError(f"The folder {str(self.directory)!r} holds no checkpoint of step {step}, only of: {shown}.")
        return known[-1] if step is None else step

    def _state_args(self, like: Json, step: int, part: str = "", *, partial: bool = False) -> Any:
        with self._reading(f"The checkpoint of step {step}", step):
            found = self._manager.item_metadata(step).state.tree
        if part and part not in found:
            raise UserError(
                f"The checkpoint of step {step} in {str(self.directory)!r} holds no average of the weights: its run had no "
                "run.ema_decay. Take the weights themselves."
            )
        found = {part: found[part]} if part else found
        if partial:
            found = {part: present(found[part], like[part])}
        # The parameters first: where they do not fit, their moments do not either, but say less.
        for name in sorted(like, key=lambda name: name != "params"):
            check_same_shapes(
                {name: found[name]},
                {name: like[name]},
                what=f"The arrays of step {step} in {str(self.directory)!r} do",
                than="the configured run",
            )
        target = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), like)
        return ocp.args.PyTreeRestore(
            target, restore_args=ocp.checkpoint_utils.construct_restore_args(target), partial_restore=bool(part)
        )


def _end_pending_quietly() -> None:
    """Lets reads and writes that are still under way when another one failed end without a word each.

    Orbax closes its event loop at the first failure; what tensorstore finishes afterwards finds it closed, and Python
    would print a traceback for each array. Each of orbax's threads logs one more, of the error that `wait` raises.
    """
    logging.getLogger("absl").addFilter(_is_raised_nowhere)
    earlier = sys.unraisablehook

    def unraisable(what: Any) -> None:
        if not (isinstance(what.exc_value, RuntimeError) and str(what.exc_value) == "Event loop is closed"):
            earlier(what)

    if not hasattr(earlier, _QUIET):
        setattr(unraisable, _QUIET, True)
        sys.unraisablehook = unraisable


def _is_raised_nowhere(record: logging.LogRecord) -> bool:
    return not (record.exc_info and "orbax" in record.pathname)


def _together(what: str) -> None:
    """Waits until every process is here, where there are several."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)
