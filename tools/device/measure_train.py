"""A training step as it is planned and as it runs: time, memory, and the share of the peak rate.

What is compiled is what `flan-jax plan` compiles, so a plan made elsewhere speaks of the same program.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from device.cases import TrainCase, drawn_params, packed_batch, train_cases
from device.timing import bytes_in_use, capacity, device_target, seconds_a_call
from jax.errors import JaxRuntimeError

from flan_jax.models.build import num_params
from flan_jax.models.operations import step_operations
from flan_jax.plan.job import PlanJob
from flan_jax.plan.measure import measure_compiled
from flan_jax.plan.programs import run_programs
from flan_jax.plan.roofline import roofline
from flan_jax.plan.targets import Target
from flan_jax.train.optimizer import make_optimizer
from flan_jax.train.sharding import Partitioner, make_partitioner
from flan_jax.train.state import init_state, trained_axes

ONE = {"data": 1, "fsdp": 1, "tensor": 1}
WARM_UP = 2


def measure(settings: Mapping[str, Any], report: Callable[..., None]) -> None:
    """Measures the first attempt of the case that fits the device."""
    case = train_cases(settings["small"])[settings["part"]["case"]]
    target, source = device_target(settings["small"])
    report(peak_source=source, target=target.name, mfu_target=case.mfu, parameters=num_params(case.model))
    attempts: list[dict[str, Any]] = []
    for rows, remat in case.all_attempts():
        attempt: dict[str, Any] = {"rows": rows, "remat": remat}
        attempts.append(attempt)
        refused = _attempt(case, rows, remat, target, settings, report)
        if not refused:
            report(attempts=attempts)
            return
        attempt["refused"] = refused
        report(attempts=attempts)
    raise RuntimeError(f"no batch fits: {attempts}")


def _attempt(
    case: TrainCase, rows: int, remat: str, target: Target, settings: Mapping[str, Any], report: Callable[..., None]
) -> str:
    """Compiles, and runs what fits; returns why it does not fit, or nothing."""
    job = case.job(rows, remat, target.name)
    devices = jax.devices()[:1]
    begun = time.perf_counter()
    traced = run_programs(job, devices).traces["train"]()
    traced_at = time.perf_counter()
    try:
        compiled = traced.lower().compile()
        compiled_at = time.perf_counter()
        planned = measure_compiled(compiled, ONE)
        peak, room = planned["memory"]["peak"], capacity()
        planned["seconds"] = roofline(target, {**planned, "operations": 0}, ONE, [0], job.model.dtype)
        report(
            rows=rows, remat=remat, lengths=list(job.row_lengths), trace_seconds=traced_at - begun,
            compile_seconds=compiled_at - traced_at, planned=planned,
        )  # fmt: skip
        if room is not None and peak > room:
            return f"the plan's peak of {peak} bytes is more than the {room} that the device gives"
        report(**_run(job, compiled, target, 0.3 if settings["small"] else 6.0))
    except JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return str(error).splitlines()[0][:300]
    return ""


def _run(job: PlanJob, compiled: Any, target: Target, budget: float) -> dict[str, Any]:
    partitioner = make_partitioner(job.mesh, jax.devices()[:1])
    take, before = _stepper(job, compiled, partitioner)
    losses = [float(take()) for _ in range(WARM_UP)]
    timed = seconds_a_call(take, budget_s=budget, most=20)
    operations = step_operations(job.model, job.rows, *job.row_lengths, frozen=job.tuning.partial)
    peak = target.peak(job.model.dtype)
    return {
        "losses": losses,
        "step_s": timed,
        "tokens_per_s": job.tokens / timed["median"],
        "operations": operations,
        "peak_flops": peak,
        "mfu": operations / timed["median"] / peak,
        "memory": {"before_steps": before, "behind_steps": bytes_in_use()},
    }


def _stepper(job: PlanJob, compiled: Any, partitioner: Partitioner) -> tuple[Callable[[], Any], dict[str, int]]:
    """Returns a call that takes a step and returns its loss, and the memory in use before the first one."""
    optimizer = make_optimizer(job.optimizer, trained_axes(job.model, job.tuning))
    params = drawn_params(job.model, job.tuning, partitioner)
    state = init_state(job.model, optimizer, 0, partitioner, params=params, tuning=job.tuning)[1]
    del params  # given to the state
    batch = partitioner.shard_batch(packed_batch(job.model, job.rows, *job.row_lengths))
    jax.block_until_ready((state, batch))
    before = bytes_in_use()
    frozen = (state.frozen,) if state.frozen else ()
    held = [dataclasses.replace(state, frozen={})]
    del state

    def take() -> Any:
        held[0], metrics = compiled(held[0], *frozen, batch)
        return metrics["loss"]

    return take, before
