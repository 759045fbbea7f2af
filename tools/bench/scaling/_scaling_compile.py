"""Compiles one training step for devices that need not be there, and adds up what its collectives move."""

import dataclasses
import resource
import time
from collections.abc import Iterable, Mapping
from typing import Any

from flan_jax.models import decoder_presets
from flan_jax.models.config import ModelConfig
from flan_jax.plan.compile import compile_job
from flan_jax.plan.job import PlanJob
from flan_jax.testing.models import tiny_decoder
from flan_jax.train.optimizer import OptimizerConfig
from flan_jax.train.sharding import MeshConfig

TARGET = "v5e"
LARGEST_SLICE = 256
"""Chips of v5e that links join; more are slices with a network between them."""
LENGTHS = (1024, 1024)
MODELS: dict[str, ModelConfig] = {
    "qwen2_5_14b": decoder_presets.preset("qwen2_5_14b", dtype="bfloat16", remat="full"),
    "tiny": tiny_decoder(num_layers=48, d_model=64, d_ff=64, remat="full"),
}


def job_of(model: str, compiler: Any, devices: int, tensor: int) -> PlanJob:
    """The step with a row for every device: parameters split over all of them, or layers over ``tensor`` of them too."""
    slices = max(1, devices // LARGEST_SLICE)
    inputs, targets = LENGTHS if model != "tiny" else (16, 16)
    return PlanJob(
        MODELS[model],
        devices,
        inputs,
        targets,
        target=TARGET,
        devices=devices,
        slices=slices,
        compiler=compiler,
        mesh=MeshConfig(1, devices // tensor, tensor),
        optimizer=OptimizerConfig(name="adamw", clip_norm=1.0),
        programs=("train",),
    )


def compiled(job: PlanJob) -> dict[str, Any]:
    """Compiles a job in a process of its own, the only one that this process may have started.

    Returns:
        Seconds of tracing, of compiling and of the whole process, its CPU seconds and memory, the plan's bytes of a device,
        and ``collectives`` (`by_kind`, and each as the plan has it). Where the compiler found no room for the program, its
        ``used`` and ``limit`` bytes in the place of the last two.
    """
    begun = time.monotonic()
    found = compile_job(job)
    wall = time.monotonic() - begun
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    train = found["programs"]["train"]
    result: dict[str, Any] = {
        "compiler": job.compiler,
        "devices": job.devices,
        "slices": job.slices,
        "mesh": found["mesh"],
        "rows": job.rows,
        "lengths": list(job.row_lengths),
        "trace_s": train["trace_seconds"],
        "compile_s": train["compile_seconds"],
        "process_s": wall,
        "process_cpu_s": usage.ru_utime + usage.ru_stime,
        "process_peak_gb": usage.ru_maxrss * 1024 / 1e9,
    }
    if "memory" not in train:
        return result | {"used_bytes": train["used"], "limit_bytes": train["limit"]}
    return result | {
        "memory_bytes": train["memory"],
        "collectives": {"by_kind": by_kind(train["collectives"]), "each": train["collectives"]},
    }


def by_kind(collectives: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Of each kind the runs, bytes and bytes sent of one device in one step, over all mesh axes."""
    found: dict[str, dict[str, int]] = {}
    for each in collectives:
        own = found.setdefault(each["kind"], {"runs": 0, "bytes": 0, "wire_bytes": 0})
        for name in own:
            own[name] += each[name]
    return found


def described(model: str) -> dict[str, Any]:
    """What the compiled model is."""
    config: Any = MODELS[model]
    return {"name": model, "config": dataclasses.asdict(config)}
