"""A checkpoint's parameters written and read piece by piece, so that a model need not fit into memory.

What is written here is what `checkpoint.Checkpointer` restores, onto any mesh: orbax asks for the parameters as
ever, and a handler of ours writes each piece when it comes, instead of all arrays at once.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts
from flax import traverse_util

from flan_jax.errors import UserError
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.checksums import CHECKSUMS, MARK, SummedPath

ParamPath = tuple[str, ...]


class Piece(NamedTuple):
    """One layer of a stacked parameter, or the whole of one that is not stacked.

    Attributes:
      path: of the parameter.
      layer: which one; None for the whole parameter.
      values: float32.
    """

    path: ParamPath
    layer: int | None
    values: np.ndarray


class _Announced:
    """A leaf of the tree to save: its shape, while the values are still to come."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype = shape, np.dtype(np.float32)
        self.nbytes = 4 * int(np.prod(shape))


class _PieceHandler(ocp.type_handlers.TypeHandler):
    """Writes announced arrays as their pieces come, one at a time; they look like saved `jax.Array`s."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces = pieces

    def typestr(self) -> str:
        """Returns what the checkpoint says its arrays are."""
        return "jax.Array"

    async def metadata(self, infos: Any) -> Any:
        """Not asked of what is only written."""
        raise NotImplementedError("what is written here is read by orbax's own handlers")

    async def deserialize(self, infos: Any, args: Any = None) -> Any:
        """Not asked of what is only written."""
        raise NotImplementedError("what is written here is read by orbax's own handlers")

    async def serialize(self, values: Any, infos: Any, args: Any = None) -> Any:
        """Writes every piece; nothing is left for later."""
        stores = {}
        for leaf, info in zip(values, infos, strict=True):
            await info.await_path_creation()
            path = tuple(info.name.split("."))
            # A chunk is a layer, so that a layer is written (and may be read) alone.
            chunk = (1, *leaf.shape[1:]) if "layers" in path else leaf.shape
            spec = ocp.type_handlers.get_json_tspec_write(
                info, info.is_ocdbt_checkpoint, leaf.shape, chunk, leaf.dtype, process_index=0
            )
            stores[path[1:]] = await ts.open(ts.Spec(spec), create=True, open=True, context=info.ts_context)
        written: dict[ParamPath, int] = dict.fromkeys(stores, 0)
        for piece in self._pieces:
            store = stores[piece.path]
            target = store if piece.layer is None else store[piece.layer]
            await target.write(piece.values)
            written[piece.path] += piece.values.size
        for path, store in stores.items():
            if written[path] != store.size:
                raise ValueError(f"{'.'.join(path)}: {written[path]} of {store.size} values came")
        return []


def save_pieces(
    directory: str | os.PathLike[str],
    shapes: Mapping[ParamPath, tuple[int, ...]],
    pieces: Iterable[Piece],
    *,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Writes the checkpoint of step 0 that holds parameters and nothing else.

    Args:
      directory: of checkpoints; made where it does not exist.
      shapes: of all parameters.
      pieces: every parameter, layer by layer where it is stacked, in any order; each is dropped when it is
        written. What they raise ends the writing, and no checkpoint is left.
      extra: JSON-like, kept with the checkpoint.

    Raises:
      UserError: there are several processes.
    """
    if jax.process_count() > 1:
        raise UserError("Weights are imported by one process. Run the command alone, before the training.")
    handler = _PieceHandler(pieces)
    # orbax warns where nothing handles the arrays that there are none of.
    registry = ocp.type_handlers.create_type_handler_registry(
        (_Announced, handler), (jax.Array, ocp.type_handlers.ArrayHandler())
    )
    tree = traverse_util.unflatten_dict({("params", *path): _Announced(shape) for path, shape in shapes.items()})
    with ocp.CheckpointManager(
        Path(directory).absolute(),
        item_handlers={
            "state": ocp.PyTreeCheckpointHandler(type_handler_registry=registry),
            "data": ocp.JsonCheckpointHandler(),
            "run": ocp.JsonCheckpointHandler(),
        },
        options=ocp.CheckpointManagerOptions(
            create=True, enable_async_checkpointing=False, temporary_path_class=SummedPath
        ),
    ) as manager:
        manager.save(
            0,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeSave(tree),
                data=ocp.args.JsonSave({}),
                run=ocp.args.JsonSave({"config": {}, "extra": dict(extra or {}), MARK: CHECKSUMS}),
            ),
        )


class StoredParams:
    """The parameters of a checkpoint, read one at a time or layer by layer.

    Args:
      directory: of a run's checkpoints.
      step: default the newest.
      ema: the average of the trained parameters in their place.

    Raises:
      UserError: no such checkpoint, or no average in it.
    """

    def __init__(self, directory: str | os.PathLike[str], step: int | None = None, *, ema: bool = False) -> None:
        self._checkpointer = Checkpointer(directory, create=False)
        with self._checkpointer:
            known = self._checkpointer.steps()
            if not known or (step is not None and step not in known):
                self._checkpointer.config(step)  # says what is there
            self.step = known[-1] if step is None else step
            self.run_config = self._checkpointer.config(self.step)
            self.extra = self._checkpointer.extra(self.step)
        if ema and not self.run_config.get("ema_decay"):
            raise UserError(
                f"The checkpoint of step {self.step} in {str(directory)!r} holds no average of the weights: its run had no "
                "run.ema_decay. Take the weights themselves."
            )
        self.ema = ema
        self._state = Path(directory).absolute() / str(self.step) / "state"
        self._stores: dict[ParamPath, Any] = {}
        self._context = ts.Context({"cache_pool": {"total_bytes_limit": 0}})

    def has(self, path: ParamPath) -> bool:
        """Tells whether the checkpoint has the parameter."""
        try:
            self._open(path)
        except UserError:
            return False
        return True

    def shape(self, path: ParamPath) -> tuple[int, ...]:
        """Returns the shape of a parameter.

        Raises:
          UserError: the checkpoint has no such parameter.
        """
        return tuple(self._open(path).shape)

    def by_layer(self, path: ParamPath) -> bool:
        """Tells whether a layer of a stacked parameter can be read without the others."""
        return self._open(path).chunk_layout.read_chunk.shape[0] == 1

    def read(self, path: ParamPath, layer: int | None = None, *, widened: bool = True) -> np.ndarray:
        """One parameter, or one layer of it, as float32, or in the type that it was saved in where it is not ``widened``.

        Raises:
          UserError: the checkpoint has no such parameter, or it cannot be read.
        """
        store = self._open(path)
        values = store.read() if layer is None else store[layer].read()
        try:
            return np.asarray(values.result(), np.float32 if widened else None)
        except (ValueError, OSError) as error:  # only where there are no checksums, which say it before
            raise UserError(
                f"The parameter {'/'.join(path)!r} of the checkpoint {str(self._state.parent)!r} cannot be read: "
                f"{str(error).splitlines()[0][:200]}. Put a whole copy back, or take another step."
            ) from error

    def _open(self, path: ParamPath) -> Any:
        if path not in self._stores:
            name = ".".join(("ema" if self.ema else "params", *path))
            spec = {
                "driver": "zarr",
                "kvstore": {"driver": "ocdbt", "base": f"file://{self._state}/", "path": f"{name}/"},
                "recheck_cached_data": False,
            }
            try:
                self._stores[path] = ts.open(spec, read=True, context=self._context).result()
            except ValueError as error:
                raise UserError(f"The checkpoint {str(self._state.parent)!r} has no parameter {name!r}.") from error
        return self._stores[path]

    def read_all(self, shapes: Mapping[ParamPath, tuple[int, ...]]) -> dict[str, Any]:
        """All of these parameters, as a nested dict of NumPy arrays."""
        return traverse_util.unflatten_dict({path: self.read(path) for path in shapes})
