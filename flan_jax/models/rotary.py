"""Rotary positions: queries and keys are turned by angles that grow with the position (Su et al. 2021).

Halves of a head are paired, first with second, as in the published weights of all families here.

Shapes: B rows of a batch, T length, H heads, K width of one head, F = K / 2 frequencies.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from flan_jax.models.decoder_config import RopeScaling
from flan_jax.models.layers import AnyArray


def frequencies(d_head: int, theta: float, scaling: RopeScaling | None = None) -> tuple[np.ndarray, float]:
    """Radians a position for every pair, float32 ``[F]``, and what rotated vectors are multiplied by.

    >>> frequencies(4, 16.0)[0].tolist()
    [1.0, 0.25]
    """
    # float32 from the start, as in the reference implementations that the weights were trained with
    base_F = np.float32(1.0) / np.float32(theta) ** (np.arange(0, d_head, 2, dtype=np.float32) / np.float32(d_head))
    if scaling is None:
        return base_F, 1.0
    if scaling.kind == "linear":
        return base_F / np.float32(scaling.factor), 1.0
    if scaling.kind == "llama3":
        return _llama3(base_F, scaling), 1.0
    return _yarn(base_F, d_head, theta, scaling)


def _llama3(base_F: np.ndarray, scaling: RopeScaling) -> np.ndarray:
    turns_F = scaling.original_max_positions * base_F / (2 * np.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    kept_F = np.clip((turns_F - low) / (high - low), 0.0, 1.0)
    return ((1 - kept_F) * base_F / scaling.factor + kept_F * base_F).astype(np.float32)


def _yarn(base_F: np.ndarray, d_head: int, theta: float, scaling: RopeScaling) -> tuple[np.ndarray, float]:
    def dimension(turns: float) -> float:  # the pair that turns so often over the original length
        return d_head * math.log(scaling.original_max_positions / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension(scaling.beta_fast), dimension(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, d_head - 1)
    high = high + 0.001 if high == low else high
    divided_F = np.clip((np.arange(d_head // 2, dtype=np.float32) - low) / (high - low), 0.0, 1.0)
    factor = scaling.attention_factor
    if factor is None:
        factor = 0.1 * math.log(scaling.factor) + 1.0 if scaling.factor > 1 else 1.0
    return (base_F / scaling.factor * divided_F + base_F * (1 - divided_F)).astype(np.float32), factor


def turns(
    positions_BT: Int[AnyArray, "B T"], d_head: int, theta: float, scaling: RopeScaling | None = None
) -> tuple[Float[Array, "B T F"], Float[Array, "B T F"]]:
    """Cosines and sines of every position's angles, float32."""
    frequency_F, factor = frequencies(d_head, theta, scaling)
    angle_BTF = jnp.asarray(positions_BT)[..., None].astype(jnp.float32) * frequency_F
    return jnp.cos(angle_BTF) * factor, jnp.sin(angle_BTF) * factor


def rotate(
    x_BTHK: Float[Array, "B T H K"], cos_BTF: Float[Array, "B T F"], sin_BTF: Float[Array, "B T F"]
) -> Float[Array, "B T H K"]:
    """Turns the pairs of every head, computed in float32, in the type of ``x``."""
    cos_BT1F, sin_BT1F = cos_BTF[:, :, None], sin_BTF[:, :, None]
    first, second = jnp.split(x_BTHK.astype(jnp.float32), 2, axis=-1)
    turned = (first * cos_BT1F - second * sin_BT1F, second * cos_BT1F + first * sin_BT1F)
    return jnp.concatenate(turned, axis=-1).astype(x_BTHK.dtype)
