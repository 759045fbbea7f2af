"""Simulated devices get threads enough."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flan_jax.simulated_devices import give_threads_to_simulated_devices

EIGHT = "--xla_force_host_platform_device_count=8"

# Sums over all devices that do not depend on each other, and a choice that waits for all of them: as a training step has
# that skips what is not finite.
MANY_SUMS = """
import flan_jax, jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
mesh = jax.make_mesh((8,), ("data",))
def loss(weights, rows):
    return sum(jnp.sum(jnp.tanh(rows @ weight)) for weight in weights)
@jax.jit
def step(weights, rows):
    grads = jax.grad(loss)(weights, rows)
    finite = jnp.isfinite(sum(jnp.sum(grad * grad) for grad in grads))
    return [jnp.where(finite, weight - 0.01 * grad, weight) for weight, grad in zip(weights, grads)]
rows = jax.device_put(jnp.ones((256, 64)), NamedSharding(mesh, PartitionSpec("data")))
weights = jax.device_put([jnp.full((64, 64), i / 100) for i in range(6)], NamedSharding(mesh, PartitionSpec()))
for _ in range(100):
    weights = step(weights, rows)
jax.block_until_ready(weights)
print("done")
"""


@pytest.mark.parametrize(
    ("given", "threads"),
    [
        ({"XLA_FLAGS": f"--other=1 {EIGHT}"}, "32"),
        ({"XLA_FLAGS": f"{EIGHT[:-1]}16 {EIGHT}"}, "32"),  # the last one counts
        ({"JAX_NUM_CPU_DEVICES": "2048"}, "8192"),
        ({"XLA_FLAGS": EIGHT, "NPROC": "2"}, "32"),  # with which it would hang
        ({"XLA_FLAGS": EIGHT, "NPROC": "100"}, "100"),
        ({"XLA_FLAGS": EIGHT[:-1] + "1"}, None),
        ({"NPROC": "1"}, "1"),
        ({}, None),
    ],
)
def test_threads(given: dict[str, str], threads: str | None) -> None:
    give_threads_to_simulated_devices(given)
    assert given.get("NPROC", None if (os.cpu_count() or 1) < 32 else threads) == threads


def test_a_process_begun_from_one_with_many_devices_has_threads_of_its_own() -> None:
    given = {"JAX_NUM_CPU_DEVICES": "2048"}
    give_threads_to_simulated_devices(given)
    del given["JAX_NUM_CPU_DEVICES"]
    give_threads_to_simulated_devices(given)
    assert given == {}


def test_no_device_waits_for_ever() -> None:
    """With two threads this ends in an abort in nearly every run."""
    ends = "--xla_cpu_collective_call_terminate_timeout_seconds=60"
    environment = {**os.environ, "XLA_FLAGS": f"{EIGHT} {ends}", "PYTHONPATH": str(Path(__file__).parents[1])}
    found = subprocess.run([sys.executable, "-c", MANY_SUMS], env=environment, capture_output=True, text=True)
    assert found.stdout == "done\n", found.stderr[-2000:]
