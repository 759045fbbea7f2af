"""Floating-point operations of a preset's step, by the formula of `flan-jax plan`, and what devices can do in a second."""

from _bench_presets import Preset

from flan_jax.models.operations import FORMULA, forward_operations, step_operations

__all__ = ["FORMULA", "PEAK", "forward_flops", "step_flops"]

PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12}
"""bfloat16 products a second of dense matrices, from the data sheets."""


def step_flops(preset: Preset) -> float:
    """Of one training step."""
    model = preset.model
    return step_operations(model, preset.rows, preset.inputs, preset.targets, frozen=bool(preset.lora_rank))


def forward_flops(preset: Preset) -> float:
    """Of the forward pass over the batch."""
    return forward_operations(preset.model, preset.rows, preset.inputs, preset.targets)
