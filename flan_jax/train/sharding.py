"""Where every array lives: a mesh of devices and one table from logical axes to mesh axes.

The mesh has three axes. `data` splits the batch only, `fsdp` splits the batch and the parameters
(fully sharded data parallelism), `tensor` splits the wide dimensions of every layer. Model files
name logical axes ("embed", "mlp", …); `ShardingRules` is the only place that maps them to the mesh.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from flan_jax.errors import UserError, unknown
from flan_jax.typed import check_fields

MESH_AXES = ("data", "fsdp", "tensor")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How many devices each mesh axis spans; one of the three may be -1, "whatever is left"."""

    data: int = -1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        check_fields(self)

    def sizes(self, device_count: int) -> tuple[int, int, int]:
        """Returns (data, fsdp, tensor) with the wildcard resolved.

        Raises:
          UserError: a size is neither positive nor -1, there are two wildcards, or the product is
            not the number of devices.
        """
        given = (self.data, self.fsdp, self.tensor)
        shown = ", ".join(f"{name}={size}" for name, size in zip(MESH_AXES, given, strict=True))
        if any(size < 1 and size != -1 for size in given) or given.count(-1) > 1:
            raise UserError(f"The mesh ({shown}) needs positive sizes, of which at most one is -1 (the devices left).")
        known = math.prod(size for size in given if size != -1)
        if device_count % known or (-1 not in given and known != device_count):
            raise UserError(
                f"The mesh ({shown}) does not fit {device_count} devices: its sizes must multiply to {device_count}; "
                "set one of them to -1 to take the devices that are left."
            )
        data, fsdp, tensor = (device_count // known if size == -1 else size for size in given)
        return data, fsdp, tensor


def fitted(config: MeshConfig, device_count: int) -> MeshConfig:
    """The mesh itself where it fits the devices, or else the nearest to it that does.

    Weights that were trained on eight devices are measured on whatever is there: as many devices as divide both stay
    on `tensor` and `fsdp`, and the others go to `data`.
    """
    try:
        config.sizes(device_count)
    except UserError:
        tensor = math.gcd(max(config.tensor, 1), device_count)
        fsdp = math.gcd(max(config.fsdp, 1), device_count // tensor)
        return MeshConfig(-1, fsdp, tensor)
    return config


def make_mesh(config: MeshConfig | None = None, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Builds the (data, fsdp, tensor) mesh over `devices` (default: all of every process).

    Raises:
      UserError: the sizes do not fit the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = (config or MeshConfig()).sizes(len(devices))
    # Auto: the compiler propagates shardings through the model from the parameters and the batch.
    return jax.make_mesh(sizes, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES), devices=devices)


@dataclasses.dataclass(frozen=True)
class ShardingRules:
    """Logical axis → mesh axes, outermost first; an empty tuple replicates.

    Two refusals keep every rule usable with every model: a mesh axis that does not divide a dimension
    leaves that dimension unsharded for this axis, and a mesh axis serves one dimension of an array
    only (the first that asks for it).
    """

    batch: tuple[str, ...] = ("data", "fsdp")
    layers: tuple[str, ...] = ()
    vocab: tuple[str, ...] = ("tensor",)
    embed: tuple[str, ...] = ("fsdp",)
    mlp: tuple[str, ...] = ("tensor",)
    heads: tuple[str, ...] = ("tensor",)
    buckets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            for axis in getattr(self, field.name):
                if axis not in MESH_AXES:
                    raise unknown(
                        "mesh axis", axis, MESH_AXES, remedy=f"It stands in the sharding rule {field.name!r}."
                    )

    def spec(self, axes: Sequence[str | None], shape: Sequence[int], mesh: Mesh) -> PartitionSpec:
        """Returns how an array of `shape`, whose dimensions are the logical `axes`, lies on `mesh`.

        With fsdp=4 and tensor=2, `spec(("layers", "embed", "mlp"), (6, 512, 1024), mesh)` is
        `PartitionSpec(None, "fsdp", "tensor")`, and with an embed of 510, which 4 does not divide,
        `PartitionSpec(None, None, "tensor")`.
        """
        if len(axes) != len(shape):
            raise ValueError(f"{len(axes)} logical axes {tuple(axes)} for an array of shape {tuple(shape)}")
        known = {field.name for field in dataclasses.fields(self)}
        taken: set[str] = set()
        dims: list[str | tuple[str, ...] | None] = []
        for logical, length in zip(axes, shape, strict=True):
            if logical is not None and logical not in known:
                raise unknown("logical axis", logical, known, remedy="The model names it; ShardingRules must map it.")
            split: list[str] = []
            for axis in getattr(self, logical) if logical is not None else ():
                size = mesh.shape[axis] * math.prod(mesh.shape[other] for other in split)
                if mesh.shape[axis] > 1 and axis not in taken and length % size == 0:
                    split.append(axis)
                    taken.add(axis)
            dims.append(tuple(split) if len(split) > 1 else split[0] if split else None)
        while dims and dims[-1] is None:
            dims.pop()
        return PartitionSpec(*dims)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def param_shardings(axes: Any, shapes: Any, mesh: Mesh, rules: ShardingRules | None = None) -> Any:
    """Returns a tree of NamedSharding, one for every parameter.

    Args:
      axes: nested dict whose leaves are tuples of logical axis names.
      shapes: the same nested dict with leaves that have a `shape`.
    """
    rules = rules or ShardingRules()
    return jax.tree.map(
        lambda shape, names: NamedSharding(mesh, rules.spec(names, shape.shape, mesh)),
        shapes,
        axes,
        is_leaf=lambda node: hasattr(node, "shape"),
    )


def place(value: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """Puts a host array that every process holds whole on the devices; each process sends its own parts."""
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


def batch_sharding(mesh: Mesh, rules: ShardingRules | None = None) -> NamedSharding:
    """Returns the sharding of every batch array: rows over the rule's axes, the rest whole."""
    return NamedSharding(mesh, PartitionSpec((rules or ShardingRules()).batch))


def shard_batch(
    batch: Mapping[str, np.ndarray], mesh: Mesh, rules: ShardingRules | None = None
) -> dict[str, jax.Array]:
    """Makes global device arrays out of the rows that this process loaded.

    Args:
      batch: arrays [local rows, …]: this process's consecutive share of the global batch, which has
        `local rows × jax.process_count()` rows. The transfer is explicit, hence allowed under a
        transfer guard, and asynchronous.

    Raises:
      UserError: the rows cannot be divided over the mesh's batch axes.
    """
    sharding = batch_sharding(mesh, rules)
    over = [axis for axis in (rules or ShardingRules()).batch if mesh.shape[axis] > 1]
    parts = math.prod(mesh.shape[axis] for axis in over)
    rows = len(next(iter(batch.values()))) * jax.process_count()
    if rows % parts:
        raise UserError(
            f"A global batch of {rows} rows cannot be split over {parts} devices ({' × '.join(over)}): "
            f"make the batch size a multiple of {parts} or put fewer devices on these mesh axes."
        )
    # This is the transfer that is meant. JAX takes it for an implicit one where several processes share the mesh.
    with jax.transfer_guard_host_to_device("allow"):
        return {name: jax.make_array_from_process_local_data(sharding, values) for name, values in batch.items()}
