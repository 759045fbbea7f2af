"""The device, the versions, and what a plain product and the memory do: what all other figures stand beside."""

import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from typing import Any

import jax
from _bench_machine import machine
from device.timing import bytes_in_use, device_target, memory_rate, product_rate
from jax.extend import backend

PACKAGES = (
    "jax", "jaxlib", "jax-cuda12-plugin", "jax-cuda12-pjrt", "jax-cuda13-plugin", "jax-cuda13-pjrt", "libtpu", "flax",
    "optax", "numpy", "torch", "transformers", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13",
)  # fmt: skip


def measure(settings: Mapping[str, Any], report: Callable[..., None]) -> None:
    small = settings["small"]
    device = jax.devices()[0]
    report(
        platform=device.platform,
        device=device.device_kind,
        devices=jax.device_count(),
        platform_version=backend.get_backend().platform_version,
        versions={"python": platform.python_version(), **_versions()},
        machine=machine(),
        memory=bytes_in_use(),
    )
    target, source = device_target(small)
    report(target=target.name, peak_source=source, peak_flops=target.flops, bandwidth=target.bandwidth)
    report(product_flops=product_rate("bfloat16", 256 if small else 8192))
    report(memory_bytes_per_s=memory_rate(2**22 if small else 2**32))


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
