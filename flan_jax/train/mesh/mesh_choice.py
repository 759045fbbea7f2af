"""The choice of a mesh for a run that names none, by one rule from the bytes of its state and a device's capacity.

A run is split by its rows alone (`data`) where its state (weights, gradients, moments, averages) takes at most half of a
device: the other half is for activations. Otherwise the state is split too (`fsdp`), over the devices of a host, or of
a slice, where half of each then holds it, and else over all. Where all together do not hold it so, or a batch has
too few rows for all devices, the devices of a host split each layer as well (`tensor`). So they do where the state is spread
over several hosts or slices: every device gathers all parameters in a step over the network between them, which is some ten
times slower than the links within, and `tensor` devices gather a share each.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import jax

from flan_jax.train.sharding import MESH_AXES, MeshConfig

STATE_SHARE = 0.5
"""Share of a device that the state may take; the rest is for activations, and what is gathered on the way."""
MOST_TENSOR = 8


@dataclasses.dataclass(frozen=True)
class MeshChoice:
    """A mesh, and why it is this one.

    Attributes:
      mesh: the run's own where it names one, or where rows alone are split.
      reason: in words, with the sizes; empty where nothing was to choose.
    """

    mesh: MeshConfig
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Room:
    """Devices as the choice sees them.

    Attributes:
      devices: of all hosts.
      joined: of them, those that share a host (GPU) or a slice (TPU) and its fast links.
      capacity: bytes that a program may have of a device; 0 where that is not known.
    """

    devices: int
    joined: int
    capacity: int


def choose_mesh(mesh: MeshConfig, room: Room, *, state: int, rows: int) -> MeshChoice:
    """Chooses a mesh for a run that names none.

    Args:
      mesh: as it is configured.
      room: the devices.
      state: bytes of the whole state with its gradients.
      rows: of a batch, or of the parts that it is computed in.
    """
    if mesh.named or room.devices == 1 or not room.capacity:
        return MeshChoice(mesh)
    held = f"the state of {_size(state)} (weights, gradients, optimizer)"
    half = f"half of a device's {_size(room.capacity)}"
    limit = STATE_SHARE * room.capacity
    if state <= limit:
        return MeshChoice(mesh, f"{_shown(mesh, room.devices)}, as {half} holds {held}")
    joined = [count for count in (room.joined, room.devices) if not room.devices % count]
    spread = next((count for count in joined if state <= limit * count), None)
    across = room.devices > room.joined
    if rows % room.devices:
        tensor = _tensor(room, rows, largest=across)
        chosen = dataclasses.replace(mesh, data=1, fsdp=room.devices // tensor, tensor=tensor)
        why = f"{held} is more than {half}, and {rows:,} rows are not divided by {room.devices}"
    elif spread is None:
        tensor = _tensor(room, rows, least=2, largest=across)
        chosen = dataclasses.replace(mesh, data=1, fsdp=room.devices // tensor, tensor=tensor)
        why = f"{held} is more than {half} even if all devices share it"
    elif spread > room.joined and (tensor := _tensor(room, rows, largest=True)) > 1:
        chosen = dataclasses.replace(mesh, data=1, fsdp=room.devices // tensor, tensor=tensor)
        why = f"{held} is more than {half}, which all devices share, and {tensor} that are near to each other gather it together"
    else:
        chosen = dataclasses.replace(mesh, data=room.devices // spread, fsdp=spread, tensor=1)
        why = f"{held} is more than {half}, which {'all devices' if spread == room.devices else f'{spread} devices'} share"
    return MeshChoice(chosen, f"{_shown(chosen, room.devices)}, as {why}")


def _tensor(room: Room, rows: int, least: int = 1, *, largest: bool = False) -> int:
    """The smallest (or largest) size of `tensor` within a host that leaves a row for each part of the batch; 1 for none."""
    sizes = [size for size in range(least, MOST_TENSOR + 1) if not room.joined % size and not room.devices % size]
    sizes = sizes[::-1] if largest else sizes
    return next((size for size in sizes if not rows % (room.devices // size)), 1)


def room_of(devices: Sequence[Any]) -> Room:
    """Looks at the devices of a mesh: how many there are, how many are near to each other, and their memory."""
    own = [device for device in devices if device.process_index == jax.process_index()] or list(devices)

    def place(device: Any) -> Any:
        return getattr(device, "slice_index", None) if device.platform == "tpu" else device.process_index

    joined = sum(place(device) == place(own[0]) for device in devices)
    return Room(len(devices), joined, _capacity(own))


def _capacity(devices: Sequence[Any]) -> int:
    if devices[0].platform == "cpu":  # simulated devices share the machine's memory
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // len(devices)
    stats = devices[0].memory_stats() or {}
    return int(stats.get("bytes_limit", 0))


def whole_bytes(state: Any) -> int:
    """Returns the bytes of a whole state (arrays or shapes) with the gradients of what is trained."""
    leaves = jax.tree.leaves((state.params, state.params, state.frozen, state.opt_state, state.ema))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def _shown(mesh: MeshConfig, devices: int) -> str:
    return ", ".join(f"{axis}={size}" for axis, size in zip(MESH_AXES, mesh.sizes(devices), strict=True))


def _size(size: float) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
