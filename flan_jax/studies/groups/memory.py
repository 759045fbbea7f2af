"""The number of runs that fit into memory together: each adds what the compiler says it does."""

import os
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.feed.layout import RowLayout
from flan_jax.models.runs_axis import own_sharding, runs_mesh
from flan_jax.studies.groups.program import group_program
from flan_jax.train.grouped_state import abstract_group_state

MOST_RUNS = 512
SHARE = 0.6
"""Of a device's memory what training may take: evaluation, batches that wait and the allocator need the rest."""


def bytes_of_runs(config: RunConfig, runs: int, *, tasks: int = 16, mesh: Mesh | None = None) -> int:
    """Returns the bytes that the step of so many runs a device takes on it, state and batch included; compiles it.

    Args:
        config: one of the runs, or of any with its ``group_key``.
        runs: on each device.
        tasks: the most training tasks of a run.
        mesh: of ``runs_axis.runs_mesh``; by default over all devices of this process.
    """
    mesh = mesh or runs_mesh()
    program, rows = group_program([config], [tasks], mesh), runs * mesh.size
    ema = bool(config.step.ema_decay)
    state = abstract_group_state(config.model, program.optimizer, rows, mesh, config.tuning, ema=ema)
    lowered = program.step.lower(state, _abstract_batch(config, rows, mesh))  # type: ignore[attr-defined]
    sizes = lowered.compile().memory_analysis()
    parts = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes
    return int(parts - sizes.alias_size_in_bytes)


def _abstract_batch(config: RunConfig, rows: int, mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    lengths, own = config.tokenize.lengths, own_sharding(mesh)
    layout = RowLayout(lengths["inputs"], lengths["targets"], config.model.decoder_only, config.feed.pack)
    of_decoder = lengths["targets"] + (lengths["inputs"] if config.model.decoder_only else 0)
    return {
        name: jax.ShapeDtypeStruct(
            (rows, config.feed.batch_size, lengths["inputs"] if name.startswith("encoder") else of_decoder),
            np.float32 if name == "decoder_loss_weights" else np.int32,
            sharding=own,
        )
        for name in layout.keys
    }


def runs_that_fit(config: RunConfig, *, tasks: int = 16, limit: int = 0) -> int:
    """Returns how many runs can be trained together: as many as fit into ``SHARE`` of memory, at most ``MOST_RUNS``.

    Args:
        config: one of the runs.
        tasks: the most training tasks of a run.
        limit: bytes of a device's memory; 0 for what the device says, and on a CPU for what is free now.

    Raises:
        UserError: not even one run fits.
    """
    mesh = runs_mesh()
    one, two = (bytes_of_runs(config, runs, tasks=tasks, mesh=mesh) for runs in (1, 2))
    room = int(SHARE * (limit or device_memory(mesh)))
    if one > room:
        raise UserError(
            f"A training step of one run takes {one / 2**20:,.0f} MiB of a device, and there is room for "
            f"{room / 2**20:,.0f} MiB. Lower BATCH_SIZE or the lengths, or raise MICROBATCHES."
        )
    more = max(1, two - one)
    return min(MOST_RUNS, (1 + (room - one) // more) * mesh.size)


def device_memory(mesh: Mesh) -> int:
    """Returns the bytes of memory of a device; devices that are parts of a CPU share what is free of the machine's."""
    stats = mesh.devices.ravel()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    free = _free_memory()
    return free // mesh.size


def _free_memory() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
