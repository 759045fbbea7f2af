"""Rotary position embeddings (RoPE; Su et al. 2021, arXiv:2104.09864), with linear, Llama 3, YaRN and proportional scaling.

Halves of a head are paired, first with second, as in the published weights of all families here.

Shapes: B rows of a batch, T length, H heads, K width of one head, F = K / 2 frequencies.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from flan_jax.errors import UserError, unknown
from flan_jax.models.ops.typing import AnyArray
from flan_jax.typed import Above0, Positive, Share, check_fields, unread

ROPE_SCALINGS = ("linear", "llama3", "yarn", "proportional")
_OF_SCALINGS = {
    "original_max_positions": ("llama3", "yarn"),
    **dict.fromkeys(("low_frequency_factor", "high_frequency_factor"), ("llama3",)),
    **dict.fromkeys(("beta_fast", "beta_slow", "attention_factor", "truncate"), ("yarn",)),
    "share": ("proportional",),
}


@dataclass(frozen=True)
class RopeScaling:
    """Scaling of rotary frequencies to contexts longer than those of pretraining.

    Attributes:
        kind: ``linear`` divides every frequency by ``factor``; ``llama3`` only the slow ones (Llama 3.1);
            ``yarn`` ramps from fast to slow and scales the scores (Peng et al. 2023, arXiv:2309.00071);
            ``proportional`` divides all and rotates the fast pairs alone (Gemma 4).
        factor: how many times longer.
        original_max_positions: the length before; of ``llama3`` and ``yarn``.
        low_frequency_factor: of ``llama3``: frequencies with fewer rotations than this over the original length are divided.
        high_frequency_factor: of ``llama3``: frequencies with more rotations than this stay.
        beta_fast: of ``yarn``: frequencies with more rotations than this over the original length stay.
        beta_slow: of ``yarn``: frequencies with fewer rotations than this are divided.
        attention_factor: of ``yarn``: multiplies rotated queries and keys; ``None`` for ``0.1 log(factor) + 1``.
        truncate: of ``yarn``: whether the ends of the ramp are whole dimensions.
        share: of ``proportional``: share of the pairs, the fast ones, that is rotated; the others stay as they are.

    Raises:
        UserError: a value outside of its range.
    """

    kind: str
    factor: Above0
    original_max_positions: Positive = 8192
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    truncate: bool = True
    share: Share = 1.0

    def effect(self) -> tuple[Any, ...] | None:
        """Returns the fields that this kind reads; ``None`` where it scales nothing."""
        shared = (self.kind, self.factor)
        if self.kind == "linear":
            return None if self.factor == 1 else shared
        if self.kind == "proportional":
            return None if self.factor == self.share == 1 else (*shared, self.share)
        longer = (*shared, self.original_max_positions)
        if self.kind == "llama3":
            return (*longer, self.low_frequency_factor, self.high_frequency_factor)
        return (*longer, self.beta_fast, self.beta_slow, self.attention_factor, self.truncate)

    def unread(self) -> Iterator[tuple[str, str]]:
        """Fields that are set and that this kind does not read, each with a sentence that says so."""
        return unread(self, "kind", _OF_SCALINGS)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.kind not in ROPE_SCALINGS:
            raise unknown("rope scaling", self.kind, ROPE_SCALINGS)
        if not self.high_frequency_factor > self.low_frequency_factor:
            raise UserError(
                f"RopeScaling: high_frequency_factor is {self.high_frequency_factor}; it must exceed "
                f"low_frequency_factor ({self.low_frequency_factor})."
            )


def frequencies(d_head: int, theta: float, scaling: RopeScaling | None = None) -> tuple[np.ndarray, float]:
    """Computes radians a position for every pair, float32 ``[F]``, and the factor of rotated vectors (YaRN).

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
    if scaling.kind == "proportional":
        rotated = int(scaling.share * d_head // 2)
        return np.where(np.arange(d_head // 2) < rotated, base_F / np.float32(scaling.factor), np.float32(0)), 1.0
    return _yarn(base_F, d_head, theta, scaling)


def _llama3(base_F: np.ndarray, scaling: RopeScaling) -> np.ndarray:
    rotations_F = scaling.original_max_positions * base_F / (2 * np.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    kept_F = np.clip((rotations_F - low) / (high - low), 0.0, 1.0)
    return ((1 - kept_F) * base_F / scaling.factor + kept_F * base_F).astype(np.float32)


def _yarn(base_F: np.ndarray, d_head: int, theta: float, scaling: RopeScaling) -> tuple[np.ndarray, float]:
    def dimension(rotations: float) -> float:  # the pair with so many rotations over the original length
        return d_head * math.log(scaling.original_max_positions / (rotations * 2 * math.pi)) / (2 * math.log(theta))

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


def rope_cos_sin(
    positions_BT: Int[AnyArray, "B T"], d_head: int, theta: float, scaling: RopeScaling | None = None
) -> tuple[Float[Array, "B T F"], Float[Array, "B T F"]]:
    """Computes float32 cosines and sines of every position's angles."""
    frequency_F, factor = frequencies(d_head, theta, scaling)
    angle_BTF = jnp.asarray(positions_BT)[..., None].astype(jnp.float32) * frequency_F
    return jnp.cos(angle_BTF) * factor, jnp.sin(angle_BTF) * factor


def apply_rope(
    x_BTHK: Float[Array, "B T H K"], cos_BTF: Float[Array, "B T F"], sin_BTF: Float[Array, "B T F"]
) -> Float[Array, "B T H K"]:
    """Rotates the pairs of every head in float32; the result has the dtype of ``x``.

    Where there are angles for a part of a head, its first numbers, the others stay.
    """
    width = 2 * cos_BTF.shape[-1]
    if width < x_BTHK.shape[-1]:
        rotated = apply_rope(x_BTHK[..., :width], cos_BTF, sin_BTF)
        return jnp.concatenate([rotated, x_BTHK[..., width:]], axis=-1)
    cos_BT1F, sin_BT1F = cos_BTF[:, :, None], sin_BTF[:, :, None]
    first, second = jnp.split(x_BTHK.astype(jnp.float32), 2, axis=-1)
    turned = (first * cos_BT1F - second * sin_BT1F, second * cos_BT1F + first * sin_BT1F)
    return jnp.concatenate(turned, axis=-1).astype(x_BTHK.dtype)
