"""Sharding: a mesh of devices and one table from logical axes to mesh axes.

The mesh has three axes. `data` splits the batch only, `fsdp` splits the batch and the parameters
(fully sharded data parallelism), `tensor` splits the wide dimensions of every layer. Model files
name logical axes ("embed", "mlp", …); `ShardingRules` is the only place that maps them to the mesh, and a
`Partitioner` is both together.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from flan_jax.errors import UserError, unknown
from flan_jax.typed import check_fields

MESH_AXES = ("data", "fsdp", "tensor")


@dataclasses.dataclass(frozen=True)
class ShardingRules:
    """Logical axis → mesh axes, outermost first; an empty tuple replicates. gin overrides single rules.

    ``ShardingRules.vocab = ('tensor', 'fsdp')`` splits the vocabulary over both axes, for example.

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
        check_fields(self)
        for field in dataclasses.fields(self):
            for axis in getattr(self, field.name):
                if axis not in MESH_AXES:
                    raise unknown(
                        "mesh axis", axis, MESH_AXES, remedy=f"It stands in the sharding rule {field.name!r}."
                    )

    def overrides(self) -> dict[str, tuple[str, ...]]:
        """Returns the rules that are not the default ones."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value != getattr(type(self), name)}

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


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """The number of devices that each mesh axis spans, and how arrays are sharded over them.

    Attributes:
      data, fsdp, tensor: sizes of the mesh axes; one of the three may be -1, "whatever is left". What is not named is
        1, and `data` what is left; where none is named, training chooses (`train.mesh.mesh_choice`).
      rules: which mesh axes split which logical axis.
    """

    data: int | None = None
    fsdp: int | None = None
    tensor: int | None = None
    rules: ShardingRules = ShardingRules()

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def named(self) -> bool:
        """True where the size of an axis is named."""
        return (self.data, self.fsdp, self.tensor) != (None, None, None)

    def sizes(self, device_count: int) -> tuple[int, int, int]:
        """Returns (data, fsdp, tensor) with the wildcard resolved.

        Raises:
          UserError: a size is neither positive nor -1, there are two wildcards, or the product is
            not the number of devices.
        """
        rest = -1 if self.data is None and -1 not in (self.fsdp, self.tensor) else 1
        given = tuple(
            rest if size is None and axis == "data" else 1 if size is None else size
            for axis, size in zip(MESH_AXES, (self.data, self.fsdp, self.tensor), strict=True)
        )
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
    """Returns the mesh itself where it fits the devices, or else the nearest to it that does.

    Weights that were trained on eight devices are measured on whatever is there: as many devices as divide both stay
    on `tensor` and `fsdp`, and the others go to `data`.
    """
    try:
        config.sizes(device_count)
    except UserError:
        tensor = math.gcd(max(config.tensor or 1, 1), device_count)
        fsdp = math.gcd(max(config.fsdp or 1, 1), device_count // tensor)
        return MeshConfig(-1, fsdp, tensor, config.rules)
    return config


def make_mesh(config: MeshConfig | None = None, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Builds the (data, fsdp, tensor) mesh over `devices` (default: all of every process).

    Raises:
      UserError: the sizes do not fit the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = (config or MeshConfig()).sizes(len(devices))
    # Auto: the compiler propagates shardings through the model from the parameters and the batch.
    return Mesh(_laid_out(sizes, devices), MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def _laid_out(sizes: tuple[int, int, int], devices: Sequence[jax.Device]) -> np.ndarray:
    """Returns the devices in the shape of a mesh: near ones beside each other on the last axes, slices of TPUs on the first.

    `jax.make_mesh` refuses several slices, and sizes that split a side of a TPU's torus, such as 64 × 2 of 4 × 4 × 8.

    Raises:
        UserError: the slices' number does not divide `data × fsdp`.
    """
    slices = len({getattr(device, "slice_index", 0) or 0 for device in devices}) if devices[0].platform == "tpu" else 1
    if slices == 1:
        return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    data, fsdp, tensor = sizes
    of_data = math.gcd(data, slices)
    if fsdp % (slices // of_data):
        raise UserError(
            f"The mesh (data={data}, fsdp={fsdp}, tensor={tensor}) cannot be laid over {slices} slices: data and fsdp must "
            f"be divided by them, as `tensor` stays within one. Make MeshConfig.data a multiple of {slices}."
        )
    of_fsdp = slices // of_data
    within, between = (data // of_data, fsdp // of_fsdp, tensor), (of_data, of_fsdp, 1)
    return mesh_utils.create_hybrid_device_mesh(within, between, devices, allow_split_physical_axes=True)


@dataclasses.dataclass(frozen=True)
class Partitioner:
    """A mesh and the rules by which arrays are sharded over it. Hashable.

    Attributes:
      mesh: of devices.
      rules: logical axis → mesh axes.
    """

    mesh: Mesh
    rules: ShardingRules = ShardingRules()

    @property
    def batch_axes(self) -> tuple[str, ...]:
        """Mesh axes that split the rows of a batch over more than one device."""
        return tuple(axis for axis in self.rules.batch if self.mesh.shape[axis] > 1)

    @property
    def batch_parts(self) -> int:
        """Parts that the rows of a batch are split into."""
        return math.prod(self.mesh.shape[axis] for axis in self.batch_axes)

    def replicated(self) -> NamedSharding:
        """Returns the sharding of an array that every device holds whole."""
        return NamedSharding(self.mesh, PartitionSpec())

    def batch(self) -> NamedSharding:
        """Returns the sharding of every batch array: rows over the rule's axes, the rest whole."""
        return NamedSharding(self.mesh, PartitionSpec(self.rules.batch))

    def place_rows(self, x: jax.Array) -> jax.Array:
        """Says, in a traced function, that an array [rows, …] is split by its rows alone, where they can be split."""
        if self.batch_parts == 1 or x.shape[0] % self.batch_parts:
            return x
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, PartitionSpec(self.batch_axes)))

    def gather_kernel(self, x: jax.Array, axes: tuple[str | None, str | None]) -> jax.Array:
        """Says, in a traced function, that what a layer computes with is gathered over the axes that split rows."""
        if self.mesh.size == 1 or x.ndim != 2:
            return x
        batch = set(self.rules.batch)

        def kept(axis: Any) -> Any:
            names = tuple(name for name in ((axis,) if isinstance(axis, str) else axis or ()) if name not in batch)
            return names or None

        spec = PartitionSpec(*map(kept, self.spec(axes, x.shape)))
        return jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, spec))

    def spec(self, axes: Sequence[str | None], shape: Sequence[int]) -> PartitionSpec:
        """Returns how an array of `shape`, whose dimensions are the logical `axes`, is sharded."""
        return self.rules.spec(axes, shape, self.mesh)

    def params(self, axes: Any, shapes: Any) -> Any:
        """Returns a tree of NamedSharding, one for every parameter.

        Args:
          axes: nested dict whose leaves are tuples of logical axis names.
          shapes: the same nested dict with leaves that have a `shape`.
        """
        return jax.tree.map(
            lambda shape, names: NamedSharding(self.mesh, self.spec(names, shape.shape)),
            shapes,
            axes,
            is_leaf=lambda node: hasattr(node, "shape"),
        )

    def shard_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """Makes global device arrays out of the rows that this process loaded.

        Args:
          batch: arrays [local rows, …]: this process's consecutive share of the global batch, which has
            `local rows × jax.process_count()` rows. The transfer is explicit, hence allowed under a
            transfer guard, and asynchronous.

        Raises:
          UserError: the rows cannot be divided over the mesh's batch axes.
        """
        rows, parts = len(next(iter(batch.values()))) * jax.process_count(), self.batch_parts
        if rows % parts:
            raise UserError(
                f"A global batch of {rows} rows cannot be split over {parts} devices ({' × '.join(self.batch_axes)}): "
                f"make the batch size a multiple of {parts} or put fewer devices on these mesh axes."
            )
        sharding = self.batch()
        # This is the transfer that is meant. JAX takes it for an implicit one where several processes share the mesh.
        with jax.transfer_guard_host_to_device("allow"):
            if jax.process_count() == 1:  # one call for all arrays: each costs the host a tenth of a millisecond
                return jax.device_put(dict(batch), sharding)
            return {name: jax.make_array_from_process_local_data(sharding, values) for name, values in batch.items()}


def make_partitioner(config: MeshConfig | None = None, devices: Sequence[jax.Device] | None = None) -> Partitioner:
    """Builds the mesh of a configuration, with its rules, over `devices` (default: all of every process).

    Raises:
      UserError: the sizes do not fit the number of devices.
    """
    config = config or MeshConfig()
    return Partitioner(make_mesh(config, devices), config.rules)


def place(value: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """Puts a host array that every process holds whole on the devices; each process sends its own parts."""
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])
