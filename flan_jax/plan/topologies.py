"""Devices of a target without the hardware: from its compiler's package, or simulated ones of the CPU."""

import math
from collections.abc import Sequence
from typing import Any

import jax

from flan_jax.errors import UserError
from flan_jax.plan.targets import GPU_SHARE, GpuCores, Target


def check_count(target: Target, devices: int, slices: int) -> None:
    """Checks that a target is sold in this many devices.

    Raises:
        UserError: slices do not divide the devices, or a slice (TPU) is no power of two, or a GPU's host is not full.
    """
    if devices < 1 or slices < 1:
        raise UserError(f"--devices {devices} and --slices {slices} must be at least 1.")
    if devices % slices:
        raise UserError(f"--devices {devices} are not divided by --slices {slices}: give a multiple of {slices}.")
    each = devices // slices
    if target.platform == "tpu" and each & (each - 1):
        low = 1 << (each.bit_length() - 1)
        raise UserError(
            f"A slice of {target.name} has a power of two of chips, not {each}. The nearest: --devices {low * slices} or "
            f"{2 * low * slices}."
        )
    if target.platform == "cuda" and each > target.host_devices and each % target.host_devices:
        low = each // target.host_devices * target.host_devices
        raise UserError(
            f"{target.name} stand {target.host_devices} in a host, and {each} fill no whole number of hosts. The nearest: "
            f"--devices {low * slices} or {(low + target.host_devices) * slices}."
        )


def slice_shape(chips: int, dims: int) -> tuple[int, ...]:
    """Returns the sides of a slice, the smallest first: 8 chips are 2x4 in two dimensions and 2x2x2 in three.

    >>> slice_shape(32, 3)
    (2, 4, 4)
    """
    exponent = chips.bit_length() - 1
    sides = [exponent // dims + (1 if place < exponent % dims else 0) for place in range(dims)]
    shape = sorted(2**side for side in sides)
    return (2, 2, 1) if chips == 4 and dims == 3 else tuple(shape)


def target_devices(target: Target, devices: int, slices: int, compiler: str) -> Sequence[Any]:
    """Returns devices to build a mesh on, of the `compiler` "tpu", "cuda" or "cpu"; nothing can run on the first two."""
    if compiler == "cpu":
        return jax.devices("cpu")[:devices]
    from jax.experimental import topologies

    each = devices // slices
    if compiler == "cuda":
        hosts = max(1, each // target.host_devices)
        assert target.cores is not None
        layout = f"{slices}x{hosts}x{each // hosts}"
        return topologies.get_topology_desc(
            platform="cuda", topology_name="", topology=layout, target_config=gpu_description(target, target.cores)
        ).devices
    shape = slice_shape(each, target.dims)
    options: dict[str, Any] = {"num_slices": slices} if slices > 1 else {}
    if each < 4:  # less than the smallest host
        options["chips_per_host_bounds"] = (*shape, 1, 1)[:3]
    if target.name == "v4":  # a chip is one device
        options["chip_config_name"] = "megacore"
    found = topologies.get_topology_desc(
        platform="tpu", topology_name=f"{target.name}:{'x'.join(map(str, shape))}", **options
    )
    if len(found.devices) != devices:
        raise ValueError(f"the topology {shape} of {target.name} has {len(found.devices)} devices, not {devices}")
    return found.devices


def gpu_description(target: Target, cores: GpuCores) -> str:
    """Returns XLA's text of a GPU, as `GpuTargetConfigProto` has it."""
    fields = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "shared_memory_per_block": 49152,
        "shared_memory_per_core": cores.shared_memory,
        "shared_memory_per_block_optin": cores.shared_memory_block,
        "threads_per_core_limit": 2048,
        "core_count": cores.cores,
        "fpus_per_core": cores.fpus,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 65535,
        "block_dim_limit_z": 65535,
        "thread_dim_limit_x": 1024,
        "thread_dim_limit_y": 1024,
        "thread_dim_limit_z": 64,
        "registers_per_core_limit": 65536,
        "registers_per_block_limit": 65536,
        "memory_bandwidth": int(target.bandwidth),
        "l2_cache_size": cores.l2,
        "clock_rate_ghz": cores.clock_ghz,
        "device_memory_size": math.ceil(target.memory / GPU_SHARE),
    }
    lines = [f"  {name}: {value}" for name, value in fields.items()]
    return "\n".join(
        ["gpu_device_info {", *lines, f"  cuda_compute_capability {{ major: {cores.capability} }}", "}",
         'platform_name: "CUDA"', "dnn_version_info { major: 9 minor: 10 }", f'device_description_str: "{cores.name}"', ""]
    )  # fmt: skip
