"""Output projection: logits of hidden states.

Shapes: B rows of a batch, T length, D model width, V vocabulary.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from flan_jax.models.ops.linear import LowRank


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Head:
    """Output projection apart from the model, so that a loss may compute it chunk by chunk.

    Attributes:
        kernel: float32, ``[V, D]`` where it is the embedding table, else ``[D, V]``.
        tied: whether it is the embedding table.
        scale: multiplies the hidden states before the product, as in T5 1.0.
        softcap: logits become ``softcap * tanh(logit / softcap)``; ``None`` leaves them.
    """

    kernel: Float[Array, "V D"] | Float[Array, "D V"]
    tied: bool = dataclasses.field(metadata={"static": True})
    scale: float = dataclasses.field(default=1.0, metadata={"static": True})
    softcap: float | None = dataclasses.field(default=None, metadata={"static": True})

    @property
    def vocab_size(self) -> int:
        """V: columns of the kernel, or rows of a tied table."""
        return self.kernel.shape[0 if self.tied else 1]

    def scaled(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Scales the hidden states before the product, in the dtype of ``x``."""
        return x_BTD if self.scale == 1.0 else x_BTD * self.scale

    def product(self, x: Float[Array, "*lead D"]) -> Float[Array, "*lead V"]:
        """Computes ``x @ kernel``: factors in the dtype of ``x``, summed in float32."""
        equation = "...D,VD->...V" if self.tied else "...D,DV->...V"
        return jnp.einsum(equation, x, self.kernel.astype(x.dtype), preferred_element_type=jnp.float32)

    def capped(self, logits: Float[Array, "*lead V"]) -> Float[Array, "*lead V"]:
        """Applies the softcap, if there is one."""
        return logits if self.softcap is None else self.softcap * jnp.tanh(logits / self.softcap)

    def __call__(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Computes float32 logits."""
        return self.capped(self.product(self.scaled(x_BTD)))


def make_head(kernel: Array | LowRank, *, tied: bool, scale: float = 1.0, softcap: float | None = None) -> Head:
    """Creates a head from a kernel; a low-rank addition is merged into it."""
    return Head(kernel.whole() if isinstance(kernel, LowRank) else kernel, tied=tied, scale=scale, softcap=softcap)
