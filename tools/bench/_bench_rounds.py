"""Measures several systems in turns, so that what else the machine does meets all of them."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp


def in_turns(systems: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every call, which must return when its work is done; A B A B.

    A turn is two calls, of which the second counts: a process gives memory back after a call has returned, and the
    first call of the next system would wait for that of the one before.
    """
    found: dict[str, list[float]] = {name: [] for name in systems}
    for index in range(rounds):
        for name, call in systems.items():
            call()
            begin = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - begin)
        log(f"round {index + 1} of {rounds}: " + ", ".join(f"{name} {found[name][-1]:.4g} s" for name in found))
    return found


def summary(values: list[float]) -> dict[str, Any]:
    """Median, least and greatest, and every value."""
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values), "runs": values}


def matmul(dtype: str, size: int) -> tuple[Callable[[], None], float]:
    """A call that multiplies two square matrices by ``jnp.dot``, some times, and its floating-point operations."""
    times = 4
    matrix = jnp.ones((size, size), dtype)
    product = jax.jit(jnp.dot)

    def call() -> None:
        jax.block_until_ready([product(matrix, matrix) for _ in range(times)])

    call()
    return call, times * 2.0 * size**3


def reading(size: int = 2**28) -> tuple[Callable[[], None], float]:
    """A call that reads ``size`` bytes of memory once, and how many bytes that are."""
    array = jnp.ones((size // 4,), jnp.float32)
    total = jax.jit(jnp.sum)

    def call() -> None:
        total(array).block_until_ready()

    call()
    return call, float(size)


def log(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
