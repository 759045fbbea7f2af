"""Kernels in 8 or 4 bits a number, for weights that are read and never trained.

``int8`` has one scale for each output: ``round(127 w / max |w|)``. ``nf4`` (Dettmers et al. 2023, QLoRA,
arXiv:2305.14314) has one for each 64 inputs of an output, and of a number the nearest of 16 values, which are
quantiles of the normal distribution; two numbers share a byte. A block never crosses an output, so an array of codes
may be sharded on either axis, and the blocks are those that bitsandbytes makes of PyTorch's ``[outputs, inputs]``
weights where 64 divides the inputs.

Shapes: m inputs, n outputs; layers may be stacked on leading axes.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int8, UInt8

from flan_jax.errors import UserError

QuantizedFormat = Literal["int8", "nf4"]
QUANTIZED: tuple[QuantizedFormat, ...] = ("int8", "nf4")
BLOCK = 64
"""Inputs of an output that share a scale in ``nf4``."""
NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""The values of the 16 codes, as the paper's appendix E has them."""
_LARGEST = 127


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class QuantizedKernel:
    """A frozen kernel in few bits; ``dequantize`` gives its numbers.

    It stands in the place of an array, as ``linear.LowRank`` does. Trees of shapes, of axes and of shardings have it
    at the same places.

    Attributes:
        codes: ``[…, m, n]`` of ``int8``; of ``nf4`` ``[…, m / 2, n]``, input 2i in the low half of byte i.
        scale: float32 ``[…, 1, n]`` of ``int8``, ``[…, ceil(m / 64), n]`` of ``nf4``: what a code's value is a
            multiple of.
        format: ``int8`` or ``nf4``.
        axes: logical names of m and n, by which training says where a layer's codes lie when they are computed with.
    """

    codes: Int8[Array, "... m n"] | UInt8[Array, "... half n"]
    scale: Float[Array, "... blocks n"]
    format: QuantizedFormat = dataclasses.field(metadata={"static": True})
    axes: tuple[str | None, str | None] = dataclasses.field(default=(None, None), metadata={"static": True})

    def __getitem__(self, index: object) -> "QuantizedKernel":
        # A parameter is read as param[...], whatever it holds.
        assert index is Ellipsis, "a quantized kernel is read whole"
        return self

    @property
    def whole_shape(self) -> tuple[int, ...]:
        """The shape of the kernel itself, ``[…, m, n]``."""
        # Not `shape`: what has one is taken for an array, by JAX's users and by ours.
        *layers, rows, outputs = self.codes.shape
        return (*layers, rows if self.format == "int8" else 2 * rows, outputs)


def whole_shape(kernel: Any) -> tuple[int, ...]:
    """Returns the shape of a kernel, quantized or not."""
    return tuple(kernel.whole_shape if isinstance(kernel, QuantizedKernel) else kernel.shape)


def is_quantized(node: object) -> bool:
    """Tells a quantized kernel from other nodes of a tree; for ``is_leaf``."""
    return isinstance(node, QuantizedKernel)


def quantize(
    kernel: Float[Array, "... m n"], format: QuantizedFormat, axes: tuple[str | None, str | None] = (None, None)
) -> QuantizedKernel:
    """Quantizes a kernel, layer by layer, so that nothing of its size stands in memory beside it.

    The codes are the same on every mesh. A number that is not finite makes its block's scale infinite, so that it
    shows wherever weights are looked at.

    Raises:
        UserError: ``nf4`` of an odd number of inputs, which bytes of two codes do not hold.
    """
    *layers, inputs, outputs = kernel.shape
    if format == "nf4" and inputs % 2:
        raise UserError(
            f"A kernel of {inputs} inputs cannot be quantized as nf4, two of which share a byte. Take 'int8' "
            "(FROZEN_DTYPE), or a model of even widths."
        )
    one = _int8 if format == "int8" else _nf4
    flat = kernel.reshape(-1, inputs, outputs)
    codes, scale = one(flat[0]) if len(flat) == 1 else jax.lax.map(one, flat)
    return QuantizedKernel(
        codes.reshape(*layers, *codes.shape[-2:]), scale.reshape(*layers, *scale.shape[-2:]), format, axes
    )


def dequantize(kernel: QuantizedKernel, dtype: Any = jnp.float32) -> Float[Array, "... m n"]:
    """Computes the numbers of a kernel: products in float32, rounded to ``dtype`` once."""
    if kernel.format == "int8":
        return (kernel.codes.astype(jnp.float32) * kernel.scale).astype(dtype)
    *layers, rows, outputs = kernel.codes.shape
    halves = jnp.stack([kernel.codes & 15, kernel.codes >> 4], axis=-2)
    values = _values(halves.reshape(*layers, 2 * rows, outputs))
    scale = jnp.repeat(kernel.scale, BLOCK, axis=-2)[..., : 2 * rows, :]
    return (values * scale).astype(dtype)


def _int8(kernel: Float[Array, "m n"]) -> tuple[Int8[Array, "m n"], Float[Array, "1 n"]]:
    kernel = kernel.astype(jnp.float32)
    scale = _largest(kernel) / _LARGEST
    return jnp.round(_divided(kernel, scale)).astype(jnp.int8), scale


def _nf4(kernel: Float[Array, "m n"]) -> tuple[UInt8[Array, "half n"], Float[Array, "blocks n"]]:
    inputs, outputs = kernel.shape
    # Zeros behind the last input change no block's largest number.
    padded = jnp.pad(kernel.astype(jnp.float32), ((0, -inputs % BLOCK), (0, 0)))
    blocks = padded.reshape(-1, BLOCK, outputs)
    scale = _largest(blocks)
    relative = _divided(blocks, scale)
    table = np.asarray(NF4, np.float32)
    codes = sum((relative > bound).astype(jnp.uint8) for bound in (table[1:] + table[:-1]) / 2)
    codes = jnp.asarray(codes).reshape(padded.shape)[:inputs]
    return codes[0::2] | (codes[1::2] << 4), scale[:, 0]


def _largest(x: Float[Array, "... m n"]) -> Float[Array, "... 1 n"]:
    # A maximum is not trusted with NaN: XLA's of the CPU passes it over.
    return jnp.max(jnp.where(jnp.isfinite(x), jnp.abs(x), jnp.inf), axis=-2, keepdims=True)


def _divided(x: Array, scale: Array) -> Array:
    usable = (scale > 0) & jnp.isfinite(scale)
    return jnp.where(usable, x / jnp.where(usable, scale, 1), 0)


def _values(codes: UInt8[Array, "... n"]) -> Float[Array, "... n"]:
    return jnp.asarray(NF4, jnp.float32).at[codes].get(mode="promise_in_bounds")
