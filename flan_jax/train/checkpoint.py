"""Checkpoints with orbax: the state as a plain nested dictionary, everything else as JSON.

A checkpoint `DIRECTORY/STEP/` has three items: `state` (arrays), `data` (where the batches stood) and
`run` (the configuration, and what the caller adds). Nothing is pickled. A step
appears under its name when all of it is written; a save that was killed leaves nothing to restore.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, EveryNSteps, LatestN

from flan_jax.errors import UserError
from flan_jax.train.state import TrainState, check_same_shapes

Json = dict[str, Any]


class Restored(NamedTuple):
    """What a checkpoint held."""

    state: TrainState
    data_position: Json
    extra: Json


class Checkpointer:
    """Saves and restores one run's checkpoints; use it as a context manager, or call `close`.

    Args:
      directory: made where it does not exist, unless `create` is false.
      keep: how many of the newest checkpoints stay.
      keep_every: checkpoints whose step is a multiple of this stay too, for good.
      config: JSON-like; what the run that saves is. It is written into every checkpoint, for the caller to
        judge (`config`).
      create: false where a checkpoint is only read.

    Raises:
      UserError: `keep` or `keep_every` is below 1, or there is no such folder and `create` is false.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        keep: int = 3,
        keep_every: int | None = None,
        config: Mapping[str, Any] | None = None,
        create: bool = True,
    ) -> None:
        if keep < 1 or (keep_every is not None and keep_every < 1):
            raise UserError(f"Checkpoints to keep: keep={keep}, keep_every={keep_every}; both must be at least 1.")
        self.directory = Path(directory).absolute()
        if not create and not self.directory.is_dir():
            raise UserError(
                f"There is no checkpoint folder {str(directory)!r}; name the folder of a run that saved one."
            )
        self._config: Json = json.loads(json.dumps(config or {}))  # as it will look when it is read back
        policies = [LatestN(keep), *([EveryNSteps(keep_every)] if keep_every else [])]
        self._manager = ocp.CheckpointManager(
            self.directory,
            item_handlers={
                "state": ocp.PyTreeCheckpointHandler(),
                "data": ocp.JsonCheckpointHandler(),
                "run": ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(
                preservation_policy=AnyPreservationPolicy(policies), create=create, cleanup_tmp_directories=create
            ),
        )

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def steps(self) -> list[int]:
        """Returns the steps that can be restored, ascending."""
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        """Returns the newest step that can be restored, or None."""
        return self._manager.latest_step()

    def save(
        self, step: int, state: TrainState, data_position: Mapping[str, Any], extra: Mapping[str, Any] | None = None
    ) -> None:
        """Begins to save; returns when the state is copied, so that its buffers may be donated.

        Files are written in the background: `wait` before the process ends. A step that is already
        there is left as it is.

        Args:
          data_position, extra: JSON-like.
        """
        if step in self._manager.all_steps():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeSave(_to_dict(state)),
                data=ocp.args.JsonSave(dict(data_position)),
                run=ocp.args.JsonSave({"config": self._config, "extra": dict(extra or {})}),
            ),
            force=True,
        )

    def wait(self) -> None:
        """Returns when every save is complete on disk; raises what a background save raised."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for the saves and releases the threads."""
        self.wait()
        self._manager.close()

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
        items = self._read(step, state=self._state_args(_to_dict(like), step), data=ocp.args.JsonRestore())
        return Restored(_from_dict(items.state, like), items.data, run["extra"])

    def restore_params(self, like: Any, step: int | None = None) -> Any:
        """Reads the trained parameters alone, for evaluation and export.

        Args:
          like: nested dict of arrays, or of `jax.ShapeDtypeStruct` with shardings.

        Raises:
          UserError: no such checkpoint, or other shapes.
        """
        step = self._existing(step)
        args = self._state_args({"params": like}, step, part="params")
        return self._read(step, state=args).state["params"]

    def config(self, step: int | None = None) -> Json:
        """Returns the configuration that the run which saved the checkpoint was given."""
        return self._read(self._existing(step), run=ocp.args.JsonRestore()).run["config"]

    def _read(self, step: int, **items: Any) -> Any:
        return self._manager.restore(step, args=ocp.args.Composite(**items))

    def _existing(self, step: int | None) -> int:
        known = self.steps()
        if not known:
            raise UserError(f"The folder {str(self.directory)!r} holds no checkpoint; train there first.")
        if step is not None and step not in known:
            shown = ", ".join(map(str, known))
            raise UserError(f"The folder {str(self.directory)!r} holds no checkpoint of step {step}, only of: {shown}.")
        return known[-1] if step is None else step

    def _state_args(self, like: Json, step: int, part: str = "") -> Any:
        found = self._manager.item_metadata(step).state.tree
        found = {part: found[part]} if part else found
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


def _to_dict(state: TrainState) -> Json:
    """Nested dictionaries with string keys only; the random key as its uint32 data; nothing that is frozen."""
    result: Json = {}
    for path, leaf in jax.tree.leaves_with_path(dataclasses.replace(state, frozen={})):
        *folders, name = (jax.tree_util.keystr((part,), simple=True) for part in path)
        node = result
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = _plain(leaf)
    return result


def _plain(leaf: Any) -> Any:
    if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
        data = jax.eval_shape(jax.random.key_data, leaf)
        return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=leaf.sharding)
    return jax.random.key_data(leaf)


def _from_dict(saved: Json, like: TrainState) -> TrainState:
    def find(path: Any, leaf: Any) -> Any:
        node: Any = saved
        for part in path:
            node = node[jax.tree_util.keystr((part,), simple=True)]
        return jax.random.wrap_key_data(node) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else node

    found = jax.tree.map_with_path(find, dataclasses.replace(like, frozen={}))
    return dataclasses.replace(found, frozen=like.frozen)
