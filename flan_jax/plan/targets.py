"""The chips that runs are planned for: rates, memories, links and prices, in one table with its sources.

Peak rates are of dense products. `flops_f32` is what JAX's default precision does with float32 operands: one pass in
bfloat16 on a TPU, TF32 on a GPU. A link's bandwidth is what one device sends at once to the others of its slice or
host: both directions of one axis of a TPU's torus, or NVLink's half of the advertised sum of both directions. The
network's is a device's share of its host's.

Sources, all public pages of the vendors:
  TPU rates, memories, hosts: cloud.google.com/tpu/docs/v4, /v5e, /v5p, /v6e; links of one axis and the network's share:
    jax-ml.github.io/scaling-book/tpus.
  A100: nvidia.com/en-us/data-center/a100; H100: nvidia.com/en-us/data-center/h100; H200: nvidia.com/en-us/data-center/h200;
    B200: nvidia.com/en-us/data-center/dgx-b200. Hosts and networks: aws.amazon.com/ec2/instance-types (p4d, p4de, p5,
    p5en, p6-b200).
  What XLA wants to know of a GPU's cores: openxla/xla, xla/backends/gpu/target_config/specs.
  Prices: cloud.google.com/tpu/pricing (United States) and aws.amazon.com/ec2/pricing/on-demand, an eighth of the host.
"""

import dataclasses
from typing import Literal

from flan_jax.errors import unknown
from flan_jax.train.reporting.peak_rates import PEAK_RATES

GIB = 2**30
GPU_SHARE = 0.92
"""Share of a GPU's memory that a process can have; the driver, the context and NCCL's buffers take the rest."""
GPU_DEFAULT_SHARE = 0.75
"""Share that JAX takes unless XLA_PYTHON_CLIENT_MEM_FRACTION says another."""
PRICED = "2025-06"
"""When the prices of the table were the vendors' list prices on demand. They change: `--price` gives yours."""


@dataclasses.dataclass(frozen=True)
class GpuCores:
    """Facts of a GPU's cores that XLA's description of it holds.

    Attributes:
        capability: CUDA's compute capability, major.
        cores: streaming multiprocessors.
        fpus: float32 units a core.
        shared_memory: bytes a core.
        shared_memory_block: bytes that a block may ask for.
        l2: bytes of the cache.
        clock_ghz: of the cores.
        name: of the device.
    """

    capability: int
    cores: int
    fpus: int
    shared_memory: int
    shared_memory_block: int
    l2: int
    clock_ghz: float
    name: str


@dataclasses.dataclass(frozen=True)
class Target:
    """One kind of chip.

    Attributes:
        name: as the command line has it.
        platform: whose compiler it needs.
        memory: bytes of a device that a program can have.
        flops: bfloat16 products a second and device.
        flops_f32: the same of float32 operands at the default precision.
        bandwidth: bytes a second between memory and cores.
        link: bytes a second that a device sends to its slice or host.
        network: bytes a second that a device sends beyond it.
        host_devices: devices of a host.
        host_memory: bytes of a host.
        price: US dollars a device and hour (`PRICED`).
        dims: of a TPU's torus; 0 of a GPU.
        cores: of a GPU.
    """

    name: str
    platform: Literal["tpu", "cuda"]
    memory: int
    flops: float
    flops_f32: float
    bandwidth: float
    link: float
    network: float
    host_devices: int
    host_memory: int
    price: float
    dims: int = 0
    cores: GpuCores | None = None

    def peak(self, dtype: str) -> float:
        """Returns the peak rate of products of a compute dtype."""
        return self.flops_f32 if dtype == "float32" else self.flops


def _tpu(
    name: str, gib: float, gigabytes: float, link: float, network: float, host: int, host_gib: int,
    price: float, dims: int,
) -> Target:  # fmt: skip
    return Target(
        name, "tpu", int(gib * GIB), *PEAK_RATES[name][:2], gigabytes * 1e9, link * 1e9, network * 1e9, host,
        host_gib * GIB, price, dims,
    )  # fmt: skip


def _gpu(
    name: str, memory: int, gigabytes: float, link: float, network: float, host_gib: int,
    price: float, cores: GpuCores,
) -> Target:  # fmt: skip
    return Target(
        name, "cuda", int(memory * GPU_SHARE), *PEAK_RATES[name][:2], gigabytes * 1e9, link * 1e9, network * 1e9,
        8, host_gib * GIB, price, 0, cores,
    )  # fmt: skip


def _ampere(memory: int, gigabytes: float, host_gib: int, price: float, name: str, device: str) -> Target:
    cores = GpuCores(8, 108, 64, 167936, 166912, 40 * 2**20, 1.41, device)
    return _gpu(name, memory, gigabytes, 300, 25, host_gib, price, cores)


def _hopper(memory: int, gigabytes: float, price: float, name: str, device: str) -> Target:
    cores = GpuCores(9, 132, 128, 233472, 232448, 50 * 2**20, 1.98, device)
    return _gpu(name, memory, gigabytes, 450, 50, 2048, price, cores)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        # GiB of memory, of the 32, 16, 95 and 32 in the data sheets, are what the compiler leaves to a program.
        _tpu("v4", 30.75, 1228, 90, 6.25, 4, 400, 3.22, 3),
        _tpu("v5e", 15.75, 819, 90, 3.125, 8, 512, 1.20, 2),
        _tpu("v5p", 95.74, 2765, 180, 6.25, 4, 448, 4.20, 3),
        _tpu("v6e", 31.25, 1640, 180, 12.5, 8, 1536, 2.70, 2),
        _ampere(42297785344, 1555, 1152, 2.74, "A100-40", "NVIDIA A100-SXM4-40GB"),
        _ampere(85100068864, 2039, 1152, 3.43, "A100-80", "NVIDIA A100-SXM4-80GB"),
        _hopper(84942979072, 3350, 6.88, "H100", "NVIDIA H100 80GB HBM3"),
        _hopper(151397597184, 4800, 7.91, "H200", "NVIDIA H200 141GB HBM3e"),
        _gpu(
            "B200", 191514411008, 8000, 900, 50, 2048, 14.24,
            GpuCores(10, 148, 128, 233472, 232448, 132644864, 1.965, "NVIDIA B200"),
        ),
    )
}  # fmt: skip


def target_named(name: str) -> Target:
    """Returns a target of the table; capitals do not matter.

    Raises:
        UserError: there is none of this name; the nearest ones are named.
    """
    for known, target in TARGETS.items():
        if known.lower() == name.lower():
            return target
    raise unknown("target", name, TARGETS, remedy=f"Targets: {', '.join(TARGETS)}.")
