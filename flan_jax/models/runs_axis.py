"""Models of one shape computed together: a leading ``runs`` axis, mapped by ``jax.vmap`` and split over devices.

Shapes: R runs, of which each of D devices has R / D.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

RUNS = "runs"
"""The mesh axis that splits runs."""


def runs_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Builds the mesh whose only axis splits runs over ``devices``; by default all of this process."""
    devices = jax.local_devices() if devices is None else devices
    return jax.make_mesh((len(devices),), (RUNS,), axis_types=(AxisType.Auto,), devices=devices)


def padded_rows(runs: int, mesh: Mesh) -> int:
    """Returns the least number of rows, at least ``runs``, that the devices of the mesh divide."""
    return -(-runs // mesh.size) * mesh.size


def own_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays ``[R, ...]``: each device holds those of its runs."""
    return NamedSharding(mesh, PartitionSpec(RUNS))


def shared_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays that all runs read: every device holds them once, whatever R is."""
    return NamedSharding(mesh, PartitionSpec())


def over_runs(function: Callable[[Any, Any], Any], mesh: Mesh) -> Callable[[Any, Any], Any]:
    """Maps a function of one run over all of them; devices do not communicate.

    Args:
        function: (own, shared) → result of one run.
        mesh: of ``runs_mesh``.

    Returns:
        (own, shared) → results. The arrays of ``own`` and of the results have a leading axis of R, a multiple of the
        devices; those of ``shared`` have none.
    """

    def on_device(own: Any, shared: Any) -> Any:
        return jax.vmap(lambda one: function(one, shared))(own)

    # By shard_map, since a compiler that splits a whole program may find reasons to communicate: a loop that ends when
    # all of its rows have, for one.
    split, whole = PartitionSpec(RUNS), PartitionSpec()
    return jax.shard_map(on_device, mesh=mesh, in_specs=(split, whole), out_specs=split, check_vma=False)
