"""A plan from what a compiler said: bytes, times, prices, whether it fits, and what would make it fit."""

import dataclasses
from typing import Any

import pytest

from flan_jax.errors import UserError
from flan_jax.plan.changes import candidates, check_batch, nearest_changes, search
from flan_jax.plan.describe import plan_lines
from flan_jax.plan.job import PlanJob
from flan_jax.plan.measure import over_memory
from flan_jax.plan.packages import Compiler
from flan_jax.plan.plan import RunLength, plan_of
from flan_jax.plan.roofline import crosses, roofline
from flan_jax.plan.targets import TARGETS
from flan_jax.testing.models import tiny_decoder, tiny_t5
from flan_jax.train.sharding import MeshConfig

JOB = PlanJob(tiny_t5(), 64, 32, 16, target="v5e", devices=8, mesh=MeshConfig(1, 8, 1), programs=("train",))
MESH = {"data": 1, "fsdp": 8, "tensor": 1}
COMPILER = Compiler("tpu", "libtpu 0.0.42")
GATHER = {
    "kind": "all-gather",
    "axes": "fsdp",
    "instructions": 2,
    "runs": 8,
    "bytes": 16 * 10**9,
    "wire_bytes": 14 * 10**9,
}


def measured(peak: int, **changes: Any) -> dict[str, Any]:
    """What `measure` gives of a training step that needs so many bytes."""
    program = {
        "trace_seconds": 1.0, "compile_seconds": 2.0, "operations": 8e12, "compiled_operations": 1.97e12,
        "traffic": 819 * 10**8, "collectives": [{**GATHER, "group": 8}],
        "memory": {"arguments": 100, "results": 100, "reused": 100, "temporaries": peak - 100, "code": 0, "peak": peak},
    }  # fmt: skip
    state = {"parameters": 40, "frozen": 0, "optimizer": 50, "average": 0, "whole": 720, "count": 80}
    found = {"mesh": MESH, "hosts": [0] * 8, "state": state, "replicated": {}, "programs": {"train": program}}
    return {**found, **changes}


def make(job: PlanJob, peak: int, steps: int = 1000, price: float | None = 2.0) -> dict[str, Any]:
    return plan_of(job, COMPILER, RunLength(steps, price), measured(peak))


def test_the_longest_part_is_the_least_time() -> None:
    plan = make(JOB, 2**30)
    seconds = plan["programs"]["train"]["seconds"]
    # 1.97e12 of 197e12 a second; 81.9 GB of 819 GB/s; 14 GB of 90 GB/s.
    assert seconds["cores"] == pytest.approx(0.01)
    assert seconds["memory"] == pytest.approx(0.1)
    assert seconds["links"] == pytest.approx(14 / 90)
    assert (seconds["network"], seconds["limited_by"]) == (0, "links")
    assert seconds["apart"] == pytest.approx(0.01 + 0.1 + 14 / 90)
    # 1,000 steps of at least 14/90 s on eight devices at two dollars an hour.
    assert plan["run"]["dollars"][0] == pytest.approx(1000 * 14 / 90 * 8 * 2 / 3600)
    assert plan["run"]["tokens"] == 1000 * 64 * 48


def test_what_crosses_slices_takes_the_network() -> None:
    program = measured(1)["programs"]["train"]
    seconds = roofline(TARGETS["v5e"], program, MESH, [0] * 4 + [1] * 4, "bfloat16")
    assert seconds["links"] == 0
    assert seconds["network"] == pytest.approx(14 / 3.125)
    assert not crosses("tensor", {"data": 2, "fsdp": 2, "tensor": 2}, [0] * 4 + [1] * 4)
    assert crosses("?", {"data": 2, "fsdp": 2, "tensor": 2}, [0] * 4 + [1] * 4)


def test_a_plan_fits_or_says_so() -> None:
    assert make(JOB, 15 * 2**30)["fits"]
    over = make(JOB, 16 * 2**30)
    assert not over["fits"]
    assert plan_lines(over)[-1] == "It does not fit: 16.00 GiB of 15.75 GiB."


def test_a_refusal_of_the_compiler_says_what_it_needs() -> None:
    words = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 25.50G of 15.75G hbm. Exceeded by 9.75G."
    assert over_memory(words) == {"used": int(25.5 * 2**30), "limit": int(15.75 * 2**30)}
    assert over_memory("INTERNAL: Used 25.50G of 15.75G hbm") is None
    refused = {"trace_seconds": 1.0, "compile_seconds": 2.0, "operations": 8e12, "used": 2**35, "limit": 2**34}
    plan = plan_of(JOB, COMPILER, RunLength(1), measured(1, programs={"train": refused}))
    assert (plan["fits"], plan["peak"]) == (False, 2**35)
    assert "the compiler needs 32.00 GiB of 16.00 GiB" in "\n".join(plan_lines(plan))


def test_the_memory_of_a_gpu_that_jax_does_not_take_by_itself() -> None:
    job = dataclasses.replace(JOB, target="H200")
    assert "memory_fraction" not in make(job, 90 * 2**30)
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION=0.92" in plan_lines(make(job, 120 * 2**30))[-1]


def test_evaluation_has_the_optimizer_beside_it() -> None:
    program = {**measured(1000)["programs"]["train"]}
    plan = plan_of(JOB, COMPILER, RunLength(1), measured(1, programs={"decode": program}))
    assert plan["peak"] == 1000 + 50


def test_batches_name_the_nearest_sizes() -> None:
    check_batch(JOB)
    with pytest.raises(UserError, match=r"over 8 devices.* The nearest sizes: 56 or 64"):
        check_batch(dataclasses.replace(JOB, rows=60))
    four = dataclasses.replace(JOB.step, microbatches=4)
    with pytest.raises(UserError, match=r"in 4 microbatches.* The nearest sizes: 32 or 64"):
        check_batch(dataclasses.replace(JOB, rows=40, step=four))
    with pytest.raises(UserError, match="The nearest sizes: 8"):
        check_batch(dataclasses.replace(JOB, rows=3))


def bytes_of(job: PlanJob) -> int:
    """A made-up need: each row a GiB unless it is recomputed, in as many parts, over as many devices."""
    row = 2**28 if job.model.remat == "full" else 2**30  # type: ignore[attr-defined]
    return 2**30 + job.rows * row * 4 // job.step.microbatches // job.devices


def test_the_nearest_changes_that_fit() -> None:
    asked = []

    def plans(job: PlanJob) -> dict[str, Any]:
        asked.append(job)
        return make(job, bytes_of(job))

    found, tried = nearest_changes(JOB, plans, tries=20)
    assert [each["change"] for each in found] == ["remat = 'full'", "MICROBATCHES = 4", "MICROBATCHES = 8"]
    assert tried == len(asked) == 5  # and dots, and two microbatches
    assert all(each["peak"] <= TARGETS["v5e"].memory for each in found)
    assert nearest_changes(JOB, plans, tries=1) == ([], 1)


def test_every_change_can_be_run() -> None:
    for job in (JOB, dataclasses.replace(JOB, model=tiny_decoder(), rows=8, mesh=MeshConfig())):
        changes = list(candidates(job))
        assert len({change.words for change in changes}) == len(changes)
        for change in changes:
            check_batch(change.job)


def test_the_frontier_of_a_search() -> None:
    def plans(job: PlanJob) -> dict[str, Any]:
        plan = make(job, bytes_of(job))
        slower = 1.5 if job.model.remat == "full" else 1.0  # type: ignore[attr-defined]
        plan["programs"]["train"]["seconds"]["bound"] = slower * job.rows * job.step.microbatches**0.1
        return plan

    found = search(JOB, plans, tries=9)
    assert (found["tried"], found["rows"][0]["change"]) == (9, found["rows"][0]["change"])
    assert found["left"] > 0
    frontier = [row for row in found["rows"] if row["frontier"]]
    assert frontier
    for row in frontier:
        assert row["fits"]
        better = [
            other
            for other in found["rows"]
            if other["fits"] and other["peak"] < row["peak"] and other["seconds_per_token"] < row["seconds_per_token"]
        ]
        assert not better
