"""A plan: what a run needs of its devices, how long it takes and what it costs, from what a compiler says (``make_plan``)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flan_jax.models.operations import forward_operations, step_operations
from flan_jax.plan.compile import CompileJob, compile_job
from flan_jax.plan.job import PlanJob
from flan_jax.plan.packages import Compiler
from flan_jax.plan.roofline import roofline
from flan_jax.plan.targets import GPU_DEFAULT_SHARE, GPU_SHARE, PRICED, target_named

_BATCH_ARRAYS = 9
"""Arrays of a batch, 4 bytes a place: of an encoder-decoder three and six, of a decoder seven."""


@dataclasses.dataclass(frozen=True)
class RunLength:
    """Length of a run, and the price of its devices.

    Attributes:
        steps: optimiser steps.
        price: US dollars a device and hour; `None` for the table's.
    """

    steps: int
    price: float | None = None


def make_plan(job: PlanJob, compiler: Compiler, run: RunLength, measure: CompileJob | None = None) -> dict[str, Any]:
    """Compiles a job's programs and works out all that a plan says, as JSON values; `describe.plan_lines` prints them.

    Args:
        job: the run on its devices, with the compiler's name.
        compiler: that it is compiled with.
        run: its length and the price of its devices.
        measure: compiles; by default in a process of its own.

    Raises:
        UserError: the mesh does not fit the devices, or the batch the mesh.
    """
    return plan_of(job, compiler, run, (measure or compile_job)(job))


def plan_of(job: PlanJob, compiler: Compiler, run: RunLength, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Works out the plan of what was measured already."""
    target = target_named(job.target)
    state = measured["state"]
    programs = {name: _program(job, measured, name) for name in measured["programs"]}
    peak = max((each["peak"] for each in programs.values()), default=0)
    plan = {
        "target": target.name,
        "devices": job.devices,
        "slices": job.slices,
        "mesh": measured["mesh"],
        "mesh_reason": job.mesh_reason,
        "compiler": compiler.version,
        "simulated": compiler.note,
        "model": {"parameters": state["count"], "dtype": job.model.dtype, "remat": job.model.remat},  # type: ignore[attr-defined]
        "batch": {
            "rows": job.rows,
            "lengths": list(job.row_lengths),
            "tokens": job.tokens,
            "microbatches": job.step.microbatches,
        },
        "capacity": target.memory,
        "peak": peak,
        "fits": peak <= target.memory,
        "state": dict(state),
        "replicated": dict(measured["replicated"]),
        "programs": programs,
        "host": _host(job, state),
    }
    if target.platform == "cuda" and target.memory * GPU_DEFAULT_SHARE / GPU_SHARE < peak <= target.memory:
        plan["memory_fraction"] = GPU_SHARE
    if "train" in programs and programs["train"].get("seconds"):
        plan["run"] = _whole_run(job, run, programs["train"])
    return plan


def _program(job: PlanJob, measured: Mapping[str, Any], name: str) -> dict[str, Any]:
    """One program's part of the plan: bytes of one device, operations, collectives and times."""
    found = dict(measured["programs"][name])
    # Evaluation runs in the training loop: the optimiser's state stays where it is.
    beside = 0 if name == "train" else measured["state"]["optimizer"] + measured["state"]["average"]
    found["beside"] = beside
    if "memory" not in found:
        found["peak"] = found["used"] or target_named(job.target).memory + 1
        return found
    found["peak"] = found["memory"]["peak"] + beside
    target = target_named(job.target)
    found["seconds"] = roofline(target, found, measured["mesh"], measured["hosts"], job.model.dtype)
    if name == "train":
        formula = step_operations(job.model, job.rows, *job.row_lengths, frozen=job.tuning.partial)
        found["formula_operations"] = formula
        found["mfu_bound"] = formula / (job.devices * target.peak(job.model.dtype) * found["seconds"]["bound"])
    elif name == "read":
        inputs, targets = (0, job.inputs) if job.model.decoder_only else (job.inputs, 0)
        found["formula_operations"] = forward_operations(job.model, job.eval_rows, inputs, targets)
    return found


def _host(job: PlanJob, state: Mapping[str, int]) -> dict[str, int]:
    target = target_named(job.target)
    hosts = max(1, -(-job.devices // target.host_devices))
    return {
        "hosts": hosts,
        "memory": target.host_memory,
        "batch": 4 * _BATCH_ARRAYS * job.tokens // hosts,
        "checkpoint": state["whole"],
        # A checkpoint is copied to the host before it is written.
        "checkpoint_a_host": state["whole"] // hosts,
    }


def _whole_run(job: PlanJob, run: RunLength, train: Mapping[str, Any]) -> dict[str, Any]:
    target = target_named(job.target)
    price = target.price if run.price is None else run.price
    seconds = [run.steps * train["seconds"][name] for name in ("bound", "apart")]
    return {
        "steps": run.steps,
        "tokens": run.steps * job.tokens,
        "bytes_read": 4 * run.steps * job.tokens,
        "seconds": seconds,
        "tokens_per_second": [job.tokens / train["seconds"][name] for name in ("bound", "apart")],
        "price": price,
        "priced": PRICED if run.price is None else "as given",
        "dollars": [price * job.devices * each / 3600 for each in seconds],
    }
