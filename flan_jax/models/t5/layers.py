"""T5's norm and feed-forward layers.

Shapes: B rows of a batch, T length, D model width, F feed-forward width.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flan_jax.models.ops.activations import activation_of
from flan_jax.models.ops.dropout import dropout, split_key
from flan_jax.models.ops.initializers import normal
from flan_jax.models.ops.linear import linear
from flan_jax.models.ops.norms import rms_norm
from flan_jax.models.ops.remat import recompute
from flan_jax.models.ops.typing import Key
from flan_jax.models.t5.config import T5Config


class RMSNorm(nnx.Module):
    """Scales by the root mean square: no mean is subtracted, no bias is added (Zhang and Sennrich 2019)."""

    def __init__(self, config: T5Config) -> None:
        self.scale = nnx.Param(jnp.full((config.d_model,), config.initializer_factor, jnp.float32))
        self.epsilon = config.layer_norm_epsilon

    def __call__(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Returns ``x / rms(x) * scale``, computed in float32, in the type of ``x``."""
        return rms_norm(x_BTD, self.scale[...], self.epsilon)


class FeedForward(nnx.Module):
    """Norm, one or two projections up, an activation, a projection down.

    Plain: ``wo(act(wi(x)))``. Gated (Shazeer 2020): ``wo(act(wi_0(x)) * wi_1(x))``.
    """

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs) -> None:
        d_model, d_ff, factor = config.d_model, config.d_ff, config.initializer_factor
        self.config = config
        self.norm = RMSNorm(config)
        if config.gated:
            self.wi_0 = normal(rngs, (d_model, d_ff), factor * d_model**-0.5)
            self.wi_1 = normal(rngs, (d_model, d_ff), factor * d_model**-0.5)
        else:
            self.wi = normal(rngs, (d_model, d_ff), factor * d_model**-0.5)
        self.wo = normal(rngs, (d_ff, d_model), factor * d_ff**-0.5)

    def __call__(self, x_BTD: Float[Array, "B T D"], key: Key | None = None) -> Float[Array, "B T D"]:
        """Computes the layer's addition to the residual stream."""
        inner_key, outer_key = split_key(key, 2)
        activation, rate = activation_of(self.config.mlp_activation), self.config.dropout_rate
        x_BTD = self.norm(x_BTD)
        if self.config.gated:
            gate_BTF, up_BTF = linear(x_BTD, self.wi_0), linear(x_BTD, self.wi_1)
            h_BTF = recompute(lambda gate, up: activation(gate) * up, gate_BTF, up_BTF)
        else:
            h_BTF = activation(linear(x_BTD, self.wi))
        return dropout(linear(dropout(h_BTF, rate, inner_key), self.wo), rate, outer_key)
