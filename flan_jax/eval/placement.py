"""Batches of evaluation on a mesh: rows split over its devices, results brought back to every process at once."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


@dataclasses.dataclass(frozen=True)
class Placement:
    """Placement of the arrays of a batch on devices.

    Transfers are explicit: evaluation may run inside a training loop that forbids others. With several processes each
    sends the rows of its own devices; all of them must go through the same batches.

    Attributes:
        rows: sharding of arrays whose first axis is that of the rows.
        whole: sharding of arrays that every device holds; ``None`` for the default device.
        parts: equal stretches of rows that are computed apart from each other; the rows of a batch are a multiple.
    """

    rows: jax.sharding.Sharding | None
    whole: jax.sharding.Sharding | None
    parts: int

    @classmethod
    def of(cls, params: Any, rows: jax.sharding.NamedSharding | None = None) -> "Placement":
        """Returns the placement beside parameters.

        Args:
            params: nested dict of arrays.
            rows: how training puts the rows of a batch on the same mesh; ``None`` puts each on every device.
        """
        sharding = getattr(jax.tree.leaves(params)[0], "sharding", None)
        whole = None
        if isinstance(sharding, jax.sharding.NamedSharding):
            whole = jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
        if rows is None:
            return cls(whole, whole, 1)
        axes = rows.spec[0] if len(rows.spec) else None
        names = axes if isinstance(axes, tuple) else () if axes is None else (axes,)
        whole = whole or jax.sharding.NamedSharding(rows.mesh, jax.sharding.PartitionSpec())
        return cls(rows, whole, math.prod(rows.mesh.shape[name] for name in names))

    @property
    def batch_parts(self) -> int:
        """Parts that rows are split into, as ``activation_sharding.RowPlacement`` has it."""
        return self.parts

    @property
    def split(self) -> "Placement | None":
        """The placement itself where rows are split over devices, for programs that say so of their activations."""
        return self if self.parts > 1 else None

    def place_rows(self, x: Any) -> Any:
        """Says, in a traced function, that an array ``[rows, ...]`` is split by its rows alone, where they can be split."""
        return jax.lax.with_sharding_constraint(x, self.rows) if x.shape[0] % self.parts == 0 else x

    def gather_kernel(self, x: Any, axes: tuple[str | None, str | None]) -> Any:
        """Leaves a layer's kernel to the compiler: evaluation knows how rows lie and no rule of parameters."""
        return x

    def rounded(self, rows: int) -> int:
        """Returns the least number of rows, at least ``rows``, that the parts divide."""
        return -(-rows // self.parts) * self.parts

    def put_rows(self, *arrays: np.ndarray) -> list[jax.Array]:
        """Puts arrays ``[rows, ...]`` on the devices, each its own rows."""
        return _put(arrays, self.rows)

    def put_whole(self, *arrays: np.ndarray) -> list[jax.Array]:
        """Puts arrays on every device."""
        return _put(arrays, self.whole)

    def fetch(self, arrays: list[jax.Array]) -> list[np.ndarray]:
        """Returns the whole of each array, to every process."""
        if all(array.is_fully_addressable for array in arrays):
            return jax.device_get(arrays)
        with jax.transfer_guard_host_to_device("allow"):
            return multihost_utils.process_allgather(arrays, tiled=True)


def _put(arrays: tuple[np.ndarray, ...], sharding: jax.sharding.Sharding | None) -> list[jax.Array]:
    if sharding is None or sharding.is_fully_addressable:
        return jax.device_put(list(arrays), sharding)
    # This is the transfer that is meant. JAX takes it for an implicit one where several processes share the mesh.
    with jax.transfer_guard_host_to_device("allow"):
        return [jax.make_array_from_callback(array.shape, sharding, array.__getitem__) for array in arrays]
