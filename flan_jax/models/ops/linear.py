"""Matrix products with a kernel: plain, quantized, or with a LoRA adapter.

Layers name their kernels and leave the product to this file, so what a kernel is, is a matter of parameters: where a
model is given a ``LowRank`` or a ``QuantizedKernel`` in the place of an array, every layer computes with it.

Shapes: B rows of a batch, T length, D width of the residual stream, H heads, K width of one head, N = H * K.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from flan_jax.models.ops.activation_sharding import RowPlacement, current_placement
from flan_jax.models.ops.quantized import QuantizedKernel, dequantize

PRODUCT = "product"
"""``checkpoint_name`` of kernels' outputs, by which a remat policy may save them."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LowRank:
    """A kernel with an addition of low rank, ``kernel + scale * a @ b`` (Hu et al. 2021, arXiv:2106.09685).

    The sum is never formed: the addition is two thin products of its own. Layers may be stacked on a leading axis.

    Attributes:
        kernel: ``[…, m, n]``, quantized or not.
        a: ``[…, m, r]``.
        b: ``[…, r, n]``.
        scale: multiplies the addition.
    """

    kernel: Float[Array, "... m n"] | QuantizedKernel
    a: Float[Array, "... m r"]
    b: Float[Array, "... r n"]
    scale: float = dataclasses.field(metadata={"static": True})

    def __getitem__(self, index: object) -> "LowRank":
        # A parameter is read as param[...], whatever it holds.
        assert index is Ellipsis, "a kernel with an addition is read whole"
        return self

    def whole(self) -> Float[Array, "... m n"]:
        """Merges the addition into the kernel, or into the numbers that a quantized one stands for."""
        kernel = dequantize(self.kernel) if isinstance(self.kernel, QuantizedKernel) else self.kernel
        return kernel + self.scale * (self.a @ self.b)


def linear(x: Float[Array, "... m"], kernel: nnx.Param) -> Float[Array, "... n"]:
    """Computes ``x @ kernel`` in the dtype of ``x``."""
    value = kernel[...]
    if isinstance(value, LowRank):
        return product(x, value.kernel) + value.scale * product(product(x, value.a), value.b)
    return product(x, value)


def to_heads(x_BTD: Float[Array, "B T D"], kernel: nnx.Param, heads: int) -> Float[Array, "B H T K"]:
    """Computes ``x @ kernel`` and moves the heads, concatenated in its columns, to an axis of their own."""
    y_BTN = linear(x_BTD, kernel)
    return y_BTN.reshape(*y_BTN.shape[:2], heads, -1).swapaxes(1, 2)


def product(x: Float[Array, "... m"], kernel: Float[Array, "m n"] | QuantizedKernel) -> Float[Array, "... n"]:
    """Computes ``x @ kernel`` in the dtype of ``x``, with a gradient that keeps every array's memory layout.

    Automatic differentiation asks for the kernel's gradient as ``(gᵀ x)ᵀ``. On a CPU, XLA then writes ``g``, and all
    that is computed on the way to it, column by column: the feed-forward layers of a decoder took twice as long. The
    kernel's gradient is summed in float32 and, of a float32 kernel, never rounded to the type of ``x``.

    A quantized kernel has no gradient. Its numbers are computed for the product and again in the backward pass, and
    are never kept: of all layers, one's are in memory at a time.
    """
    if isinstance(kernel, QuantizedKernel):
        return checkpoint_name(_quantized_product(x, kernel, current_placement()), PRODUCT)
    return checkpoint_name(_product(x, kernel), PRODUCT)


@jax.custom_vjp
def _product(x: Array, kernel: Array) -> Array:
    return x @ kernel.astype(x.dtype)


def _forward(x: Any, kernel: Any) -> tuple[Array, tuple[Array | None, Array | None]]:
    # What is frozen, or nothing depends on, needs no gradient and keeps nothing for it.
    saved = x.value if kernel.perturbed else None, kernel.value if x.perturbed else None
    return _product(x.value, kernel.value), saved


def _backward(saved: tuple[Array | None, Array | None], g: Array | SymbolicZero) -> tuple[Array | None, Array | None]:
    x, kernel = saved
    if isinstance(g, SymbolicZero):
        return None, None
    dx = None if kernel is None else jnp.einsum("...n,mn->...m", g, kernel.astype(g.dtype))
    if x is None:
        return dx, None
    # One axis of rows: over several, XLA transposes x before the product, element by element on a CPU.
    x, g = (y.reshape(-1, y.shape[-1]) for y in (x, g))
    return dx, jnp.einsum("rm,rn->mn", x, g, preferred_element_type=jnp.float32)


_product.defvjp(_forward, _backward, symbolic_zeros=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _quantized_product(x: Array, kernel: QuantizedKernel, placement: RowPlacement | None) -> Array:
    return x @ _numbers(kernel, x.dtype, placement)


def _quantized_forward(
    x: Array, kernel: QuantizedKernel, placement: RowPlacement | None
) -> tuple[Array, QuantizedKernel]:
    return _quantized_product(x, kernel, placement), kernel


def _quantized_backward(placement: RowPlacement | None, kernel: QuantizedKernel, g: Array) -> tuple[Array, None]:
    return jnp.einsum("...n,mn->...m", g, _numbers(kernel, g.dtype, placement)), None


def _numbers(kernel: QuantizedKernel, dtype: Any, placement: RowPlacement | None) -> Array:
    """Dequantizes a kernel whose codes are brought together first: left to the compiler, its numbers would be, in many more bytes."""
    if placement is not None:
        kernel = jax.tree.map(lambda leaf: placement.gather_kernel(leaf, kernel.axes), kernel)
    return dequantize(kernel, dtype)


_quantized_product.defvjp(_quantized_forward, _quantized_backward)
