"""Peak rates of matrix products by chip, from the data sheets: dense, a device."""

from typing import NamedTuple


class PeakRate(NamedTuple):
    """Products a second of one device.

    Attributes:
        bfloat16: of bfloat16 operands.
        float32: of float32 operands at JAX's default precision.
        device: what a ``device_kind`` of JAX that is this chip begins with, or holds where it is a GPU's.
    """

    bfloat16: float
    float32: float
    device: str


PEAK_RATES = {
    "v4": PeakRate(275e12, 275e12, "TPU v4"),
    "v5e": PeakRate(197e12, 197e12, "TPU v5 lite"),
    "v5p": PeakRate(459e12, 459e12, "TPU v5"),
    "v6e": PeakRate(918e12, 918e12, "TPU v6 lite"),
    "A100-40": PeakRate(312e12, 156e12, "A100"),
    "A100-80": PeakRate(312e12, 156e12, "A100"),
    "H100": PeakRate(989e12, 494.5e12, "H100"),
    "H200": PeakRate(989e12, 494.5e12, "H200"),
    "B200": PeakRate(2250e12, 1125e12, "B200"),
}
"""Chip, as ``flan-jax plan --target`` names it → its rates."""


def peak_rate(device_kind: str, dtype: str) -> float | None:
    """Returns the peak rate of a device for products of a compute dtype; ``None`` of one that no table has.

    >>> peak_rate("TPU v5 lite", "bfloat16"), peak_rate("NVIDIA H100 80GB HBM3", "float32"), peak_rate("cpu", "float32")
    (197000000000000.0, 494500000000000.0, None)

    Args:
        device_kind: as JAX says it.
        dtype: ``float32`` or ``bfloat16``.
    """
    found = [rate for rate in PEAK_RATES.values() if rate.device in device_kind]
    if not found:
        return None
    nearest = max(found, key=lambda rate: len(rate.device))  # "TPU v5" is the beginning of "TPU v5 lite"
    return nearest.float32 if dtype == "float32" else nearest.bfloat16
