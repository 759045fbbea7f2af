"""Times of calls on a device, and the rates that it is held against."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from flan_jax.plan.targets import TARGETS, Target
from flan_jax.train.reporting.peak_rates import PEAK_RATES

ROUNDS = 3


def summary(values: list[float]) -> dict[str, Any]:
    """Returns median, least and greatest, and every value."""
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values), "runs": values}


def seconds_a_call(
    call: Callable[[], Any], *, budget_s: float, most: int = 200, wait: Callable[[Any], Any] = jax.block_until_ready
) -> dict[str, Any]:
    """Times calls that were compiled before: `ROUNDS` rounds of as many in a row as a third of the budget holds.

    Args:
        call: returns arrays; they are waited for at the end of a round alone, as a training loop does.
        budget_s: seconds of all rounds, where one call takes less.
        most: calls in a row.
        wait: for what a call returned.
    """
    wait(call())
    begun = time.perf_counter()
    wait(call())
    once = max(time.perf_counter() - begun, 1e-9)
    count = max(1, min(most, int(budget_s / ROUNDS / once)))
    found = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(count):
            result = call()
        wait(result)
        found.append((time.perf_counter() - begun) / count)
    return {**summary(found), "in_a_row": count}


def product_rate(dtype: str, side: int) -> float:
    """Returns the operations a second of a product of two square matrices of random numbers; zeros take less power."""
    left, right = (jax.random.normal(key, (side, side), dtype) for key in jax.random.split(jax.random.key(0)))
    product = jax.jit(jnp.dot)
    return 2.0 * side**3 / seconds_a_call(lambda: product(left, right), budget_s=1.0)["median"]


def memory_rate(size: int) -> float:
    """Returns the bytes a second at which an array is read and written: each number is changed in place."""
    array = jnp.zeros((size // 4,), jnp.float32)
    change = jax.jit(lambda x: x + 1, donate_argnums=0)
    held = [array]

    def call() -> Any:
        held[0] = change(held[0])
        return held[0]

    return 2.0 * size / seconds_a_call(call, budget_s=1.0)["median"]


def device_target(small: bool) -> tuple[Target, str]:
    """Returns the row of `plan.targets` that the first device is, and where its rates come from.

    Of a device that the table lacks, what a product and the memory were measured to do stands in it; `small` measures
    little.
    """
    device = jax.devices()[0]
    memory = (device.memory_stats() or {}).get("bytes_limit", 0)
    fitting = [name for name, rate in PEAK_RATES.items() if rate.device in device.device_kind]
    if fitting:
        longest = max(len(PEAK_RATES[name].device) for name in fitting)
        named = [TARGETS[name] for name in fitting if len(PEAK_RATES[name].device) == longest]
        return min(named, key=lambda target: abs(target.memory - memory)), "data sheet"
    side, size = (256, 2**22) if small else (4096, 2**28)
    stand_in = dataclasses.replace(
        TARGETS["H200"],
        name=device.device_kind,
        memory=memory,
        flops=product_rate("bfloat16", side),
        flops_f32=product_rate("float32", side),
        bandwidth=memory_rate(size),
    )
    return stand_in, "measured in this process: the table has no such device"


def bytes_in_use() -> dict[str, int]:
    """Returns what the first device says of its memory: `now`, `peak` since the process began, and `limit`; {} of a CPU."""
    stats = jax.devices()[0].memory_stats() or {}
    names = {"now": "bytes_in_use", "peak": "peak_bytes_in_use", "limit": "bytes_limit"}
    return {name: int(stats[key]) for name, key in names.items() if key in stats}


def capacity() -> int | None:
    """Returns the bytes that a program may have of the first device; `None` where it does not say."""
    limit = bytes_in_use().get("limit")
    return limit or None
