"""The peak of memory that a plan predicts of a training step, and the one that a process has."""

import ctypes
import gc
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from _scaling_training import prepare

from flan_jax.models.build import num_params
from flan_jax.plan.compile import compile_job
from flan_jax.plan.job import PlanJob
from flan_jax.plan.measure import memory as memory_of
from flan_jax.train.sharding import MeshConfig


def memory(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Predicts by the plan, then trains, and reads from the system what the process had resident at most.

    What the process had after it compiled and before it had a state is taken off: imports and the compiler.

    Args:
        settings: ``model``, ``optimizer``, ``rows`` and ``steps``.

    Returns:
        ``predicted_bytes`` (of `flan-jax plan`, for simulated CPU devices), ``compiled_bytes`` (the same of the program that
        ran here, which is optimized), ``measured_bytes``, and ``error``: predicted over measured, less 1.
    """
    training = prepare(settings["model"], optimizer=settings["optimizer"], rows=settings["rows"])
    preset = training.preset
    job = PlanJob(
        preset.model,
        preset.rows,
        preset.inputs,
        preset.targets,
        target="v5e",
        mesh=MeshConfig(1, 1, 1),
        optimizer=training.rule,
        programs=("train",),
    )
    predicted = compile_job(job)["programs"]["train"]["memory"]["peak"]
    on_device = training.partitioner.shard_batch(training.batch)
    step = training.step.lower(training.shapes, on_device).compile()
    idle = _forget_peak()
    state = training.begin()
    jax.block_until_ready(state)
    _forget_peak()  # what drawing the weights took besides them
    for _ in range(settings["steps"]):
        state, _ = step(state, on_device)
        jax.block_until_ready(state)
    measured = _status("VmHWM") - idle
    return {
        **settings,
        "rows": preset.rows,
        "lengths": {"inputs": preset.inputs, "targets": preset.targets},
        "parameters": num_params(preset.model),
        "predicted_bytes": predicted,
        "compiled_bytes": memory_of(step)["peak"],
        "measured_bytes": measured,
        "idle_bytes": idle,
        "error": predicted / measured - 1,
    }


def _forget_peak() -> int:
    """Gives free memory back, begins the system's record of the peak anew, and returns what is resident now."""
    if sys.platform != "linux":
        raise RuntimeError("the memory part reads Linux's /proc; leave it out of --parts here")
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    return int(Path("/proc/self/status").read_text().partition(f"{name}:")[2].split()[0]) * 1024
