"""Compiles a job's programs and writes down what the compiler says of them, as plain values."""

import math
import re
import time
from typing import Any

import jax
from jax.errors import JaxRuntimeError

from flan_jax.models.ops.attention_impl import traced_for
from flan_jax.models.peft.adapters import counts
from flan_jax.plan.collectives import collectives
from flan_jax.plan.compiled_operations import compiled_operations
from flan_jax.plan.hlo import HloProgram
from flan_jax.plan.job import PlanJob
from flan_jax.plan.memory_traffic import memory_traffic
from flan_jax.plan.programs import run_programs
from flan_jax.plan.targets import GIB, target_named
from flan_jax.plan.topologies import target_devices
from flan_jax.plan.traced_operations import product_operations
from flan_jax.train.sharding import MESH_AXES

REPLICATED_FROM = 2**20
"""Bytes from which a leaf that every device holds whole is listed."""
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": GIB, "T": 2**40}
_BACKENDS = {"tpu": "tpu", "cuda": "gpu", "cpu": "cpu"}
_USED = re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) (?:hbm|HBM)")


def measure(job: PlanJob) -> dict[str, Any]:
    """Compiles every program of a job.

    Returns:
        `mesh` (axis → size), `state` (`state_bytes`), `replicated` (path → bytes of leaves that are whole on every
        device), and `programs`: name → `measure_program`.

    Raises:
        UserError: the mesh does not fit the devices.
    """
    devices = target_devices(target_named(job.target), job.devices, job.slices, job.compiler)
    programs = run_programs(job, devices)
    mesh = {axis: int(programs.partitioner.mesh.shape[axis]) for axis in MESH_AXES}
    position = {device: place for place, device in enumerate(programs.partitioner.mesh.devices.flat)}
    return {
        "mesh": mesh,
        "hosts": [_host(device, place, job) for device, place in position.items()],
        "state": state_bytes(programs.state),
        "replicated": replicated(programs.state),
        "programs": {name: measure_program(trace, mesh, job.compiler) for name, trace in programs.traces.items()},
    }


def _host(device: Any, place: int, job: PlanJob) -> int:
    """The number of the slice (TPU) or of the host (GPU), within which links join devices."""
    target = target_named(job.target)
    if job.compiler == "cpu":
        each = job.devices // job.slices
        return place // (each if target.platform == "tpu" else min(each, target.host_devices))
    if target.platform == "tpu":
        return int(getattr(device, "slice_index", 0) or 0)
    return int(device.process_index)


def measure_program(trace: Any, mesh: dict[str, int], compiler: str) -> dict[str, Any]:
    """Traces, lowers and compiles one program.

    Returns:
        `trace_seconds`, `compile_seconds`, `operations` (of all devices, by its matrix products), and of one device
        `memory` (bytes), `compiled_operations` (of the products in what the compiler made), `traffic` (bytes),
        `collectives`; loops are counted in all of them. Where the compiler found no room for it: `used` and
        `limit` in bytes in the place of what only a compiled program has.
    """
    begun = time.perf_counter()
    with traced_for(_BACKENDS[compiler], math.prod(mesh.values())):
        traced = trace()
    operations = product_operations(traced.jaxpr)
    lowered = traced.lower()
    lowered_at = time.perf_counter()
    found: dict[str, Any] = {"operations": operations, "trace_seconds": lowered_at - begun}
    try:
        compiled = lowered.compile()
    except JaxRuntimeError as error:
        used = over_memory(str(error))
        if used is None:
            raise
        return {**found, "compile_seconds": time.perf_counter() - lowered_at, **used}
    return {**found, "compile_seconds": time.perf_counter() - lowered_at, **measure_compiled(compiled, mesh)}


def measure_compiled(compiled: Any, mesh: dict[str, int]) -> dict[str, Any]:
    """Returns of one device of a compiled program its `memory`, `compiled_operations`, `traffic` and `collectives`."""
    program = HloProgram.parse(compiled.as_text())
    return {
        "memory": memory(compiled),
        "compiled_operations": compiled_operations(program),
        "traffic": memory_traffic(program),
        "collectives": [each.as_json() for each in collectives(program, mesh)],
    }


def memory(compiled: Any) -> dict[str, int]:
    """Returns the bytes of a compiled program on one device: `arguments`, `results`, of them `reused` ones, `temporaries`, `peak`."""
    stats = compiled.memory_analysis()
    found = {
        "arguments": int(stats.argument_size_in_bytes),
        "results": int(stats.output_size_in_bytes),
        "reused": int(stats.alias_size_in_bytes),
        "temporaries": int(stats.temp_size_in_bytes),
        "code": int(stats.generated_code_size_in_bytes),
    }
    found["peak"] = found["arguments"] + found["results"] - found["reused"] + found["temporaries"] + found["code"]
    return found


def over_memory(message: str) -> dict[str, int] | None:
    """Reads the bytes that a program needs and may have out of a compiler's refusal; `None` where it is no such refusal."""
    if "RESOURCE_EXHAUSTED" not in message:
        return None
    found = _USED.search(message)
    if not found:
        return {"used": 0, "limit": 0}
    return {
        "used": int(float(found[1]) * _UNITS[found[2]]),
        "limit": int(float(found[3]) * _UNITS[found[4]]),
    }


def state_bytes(state: Any) -> dict[str, int]:
    """Returns the bytes of a state on one device: `parameters` (trained), `frozen`, `optimizer`, `average`; `whole` of all parts together."""
    return {
        "parameters": _own_bytes(state.params),
        "frozen": _own_bytes(state.frozen),
        "optimizer": _own_bytes(state.opt_state),
        "average": _own_bytes(state.ema),
        "whole": sum(
            leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((state.params, state.opt_state, state.ema))
        ),
        "count": counts(state.params, state.frozen).total,
    }


def _own_bytes(tree: Any) -> int:
    total = 0
    for leaf in jax.tree.leaves(tree):
        size = 1
        for length in leaf.sharding.shard_shape(leaf.shape):
            size *= length
        total += size * leaf.dtype.itemsize
    return total


def replicated(state: Any) -> dict[str, int]:
    """Returns path → bytes of the leaves of at least 1 MiB that every device of a mesh of several holds whole."""
    found = {}
    for part in ("params", "frozen", "opt_state"):
        for path, leaf in jax.tree.leaves_with_path(getattr(state, part)):
            size = leaf.size * leaf.dtype.itemsize
            if size >= REPLICATED_FROM and leaf.sharding.num_devices > 1 and leaf.sharding.is_fully_replicated:
                found[f"{part}/{jax.tree_util.keystr(path, simple=True, separator='/')}"] = size
    return found
