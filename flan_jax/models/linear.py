"""Products with a kernel, plain or with a low-rank addition.

Layers name their kernels and leave the product to this file, so an adapter is a matter of parameters: where a
model is given a ``LowRank`` in the place of a kernel, every layer computes with it.

Shapes: B rows of a batch, T length, D width of the input, H heads, K width of one head, R rank.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LowRank:
    """A kernel with an addition of low rank, ``kernel + scale * a @ b`` (Hu et al. 2021, arXiv:2106.09685).

    The sum is never formed: the addition is two thin products of its own. Layers may be stacked on a leading axis.

    Attributes:
        kernel: ``[…, m, n]``.
        a: ``[…, m, r]``.
        b: ``[…, r, n]``.
        scale: multiplies the addition.
    """

    kernel: Float[Array, "... m n"]
    a: Float[Array, "... m r"]
    b: Float[Array, "... r n"]
    scale: float = dataclasses.field(metadata={"static": True})

    def __getitem__(self, index: object) -> "LowRank":
        # A parameter is read as param[...], whatever it holds.
        assert index is Ellipsis, "a kernel with an addition is read whole"
        return self

    def whole(self) -> Float[Array, "... m n"]:
        """The sum, as one kernel."""
        return self.kernel + self.scale * (self.a @ self.b)


def linear(x: Float[Array, "... m"], kernel: nnx.Param) -> Float[Array, "... n"]:
    """``x @ kernel`` in the type of ``x``."""
    value = kernel[...]
    if isinstance(value, LowRank):
        added = (x @ value.a.astype(x.dtype)) @ value.b.astype(x.dtype)
        return x @ value.kernel.astype(x.dtype) + value.scale * added
    return x @ value.astype(x.dtype)


def to_heads(x_BTD: Float[Array, "B T D"], kernel: nnx.Param, heads: int) -> Float[Array, "B H T K"]:
    """``x @ kernel``, whose columns are the heads side by side, with the heads on an axis of their own."""
    value = kernel[...]
    if isinstance(value, LowRank):
        added = _to_heads(x_BTD @ value.a.astype(x_BTD.dtype), value.b, heads)
        return _to_heads(x_BTD, value.kernel, heads) + value.scale * added
    return _to_heads(x_BTD, value, heads)


def _to_heads(x_BTD: Array, kernel_DN: Array, heads: int) -> Array:
    kernel_DHK = kernel_DN.astype(x_BTD.dtype).reshape(kernel_DN.shape[0], heads, -1)
    return jnp.einsum("BTD,DHK->BHTK", x_BTD, kernel_DHK)


def from_heads(o_BHTK: Float[Array, "B H T K"], kernel: nnx.Param) -> Float[Array, "B T D"]:
    """The heads side by side, times the kernel."""
    value = kernel[...]
    if isinstance(value, LowRank):
        added = _from_heads(o_BHTK, value.a) @ value.b.astype(o_BHTK.dtype)
        return _from_heads(o_BHTK, value.kernel) + value.scale * added
    return _from_heads(o_BHTK, value)


def _from_heads(o_BHTK: Array, kernel_ND: Array) -> Array:
    kernel_HKD = kernel_ND.astype(o_BHTK.dtype).reshape(o_BHTK.shape[1], o_BHTK.shape[3], -1)
    return jnp.einsum("BHTK,HKD->BTD", o_BHTK, kernel_HKD)
