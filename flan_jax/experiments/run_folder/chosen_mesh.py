"""The mesh of a run that names none: chosen when it begins, and the same again on as many devices."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.run_folder.run_files import read_manifest
from flan_jax.train.mesh.mesh_choice import MeshChoice, Room, choose_mesh, room_of, whole_bytes
from flan_jax.train.optimizer import make_optimizer
from flan_jax.train.sharding import MESH_AXES, MeshConfig, Partitioner, make_mesh
from flan_jax.train.state import abstract_sharded_state, trained_axes

RECORD = "mesh"
"""Under this name the manifest has the mesh that a run began on."""


def run_mesh(config: RunConfig, devices: Sequence[jax.Device] | None = None) -> MeshChoice:
    """Chooses the mesh of a run that names none; process 0 decides for all, and a run that goes on decides as it began.

    Args:
        config: the run.
        devices: that it trains on; by default all of every process.
    """
    mesh = make_mesh(config.mesh, devices)
    if config.mesh.named or mesh.size == 1:
        return MeshChoice(config.mesh)
    began = (read_manifest(Path(config.model_dir).expanduser()) or {}).get(RECORD, {})
    if began.get("devices") == mesh.size and began.get("chosen"):
        chosen = MeshChoice(
            _with_sizes(config, [began[axis] for axis in MESH_AXES]), f"{began['chosen']}, when it began"
        )
    else:
        chosen = mesh_of(config, room_of(list(mesh.devices.flat)))
    if jax.process_count() > 1:
        own = chosen.mesh.sizes(mesh.size)
        first = multihost_utils.broadcast_one_to_all(np.asarray(own)).tolist()
        if first != list(own):  # devices that are alike may report different memories
            chosen = MeshChoice(_with_sizes(config, first), "as process 0 chose it")
    return chosen


def mesh_of(config: RunConfig, room: Room) -> MeshChoice:
    """Chooses the mesh of a run on such devices, by the bytes of its state."""
    if config.mesh.named or room.devices == 1:
        return MeshChoice(config.mesh)
    optimizer = make_optimizer(config.optimizer, trained_axes(config.model, config.tuning))
    one = Partitioner(make_mesh(None, jax.local_devices()[:1]))
    _, state = abstract_sharded_state(
        config.model, optimizer, one, tuning=config.tuning, ema=bool(config.step.ema_decay)
    )
    rows = config.feed.batch_size // config.step.microbatches
    return choose_mesh(config.mesh, room, state=whole_bytes(state), rows=rows)


def begun_mesh(config: RunConfig) -> MeshConfig:
    """Returns the mesh of a run that has begun, for weights that are read elsewhere; its own where it names one."""
    began = (read_manifest(Path(config.model_dir).expanduser()) or {}).get(RECORD, {})
    if config.mesh.named or not began.get("chosen"):
        return config.mesh
    return _with_sizes(config, [began[axis] for axis in MESH_AXES])


def mesh_record(mesh: jax.sharding.Mesh, reason: str) -> Mapping[str, Any]:
    """Returns what a manifest says of the mesh; `chosen` is why, where the run named none."""
    sizes = {axis: int(mesh.shape[axis]) for axis in MESH_AXES}
    return {"devices": mesh.size, **sizes, **({"chosen": reason} if reason else {})}


def _with_sizes(config: RunConfig, sizes: Sequence[int]) -> MeshConfig:
    """The mesh of such sizes; the run's own where rows alone are split."""
    data, fsdp, tensor = map(int, sizes)
    if fsdp == tensor == 1:
        return config.mesh
    return dataclasses.replace(config.mesh, data=data, fsdp=fsdp, tensor=tensor)
