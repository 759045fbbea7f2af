"""Layers with a state in the place of attention.

Shapes: B rows, T length, D model width, H heads of values, K width of keys, V width of values, C channels, L layers.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.layers import DecoderMLP, Norm, project
from flan_jax.models.decoder.linear_config import LinearAttention
from flan_jax.models.ops.delta_rule import causal_conv, gated_delta_rule
from flan_jax.models.ops.dropout import dropout, split_key
from flan_jax.models.ops.initializers import normal
from flan_jax.models.ops.norms import rms_norm
from flan_jax.models.ops.stack import init_stack
from flan_jax.models.ops.typing import Key

States = tuple[Float[Array, "B H K V"], Float[Array, "B w C"]]
"""The state of the delta rule, and the last inputs of the convolution."""


class DeltaMixer(nnx.Module):
    """Norm, projections, a short convolution, the gated delta rule, a gated norm, and the projection back."""

    def __init__(self, config: DecoderConfig, linear: LinearAttention, *, rngs: nnx.Rngs) -> None:
        width, heads, values = config.d_model, linear.value_heads, linear.value_width
        self.config, self.linear = config, linear
        self.norm = Norm(config, width)
        self.qkv = normal(rngs, (width, linear.channels), width**-0.5)
        self.z = normal(rngs, (width, values), width**-0.5)
        self.b = normal(rngs, (width, heads), width**-0.5)
        self.a = normal(rngs, (width, heads), width**-0.5)
        self.conv = normal(rngs, (linear.conv_width, 1, linear.channels), linear.conv_width**-0.5)
        self.dt_bias = nnx.Param(jnp.ones((heads,), jnp.float32))
        # As published: decays from slow to fast, a head each.
        self.a_log = nnx.Param(jnp.log(jax.random.uniform(rngs.params(), (heads,), jnp.float32, 0.01, 16.0)))
        self.out_norm = nnx.Param(jnp.ones((linear.d_value,), jnp.float32))
        self.o = normal(rngs, (values, width), (2 * config.num_layers * values) ** -0.5)

    def __call__(
        self, x_BTD: Float[Array, "B T D"], segments_BT: Int[Array, "B T"], states: States | None
    ) -> tuple[Float[Array, "B T D"], States]:
        """Returns the addition to the residual stream, and the states behind the last token.

        Args:
            segments_BT: segment ids.
            states: before the first token, of its segment; ``None`` for none.
        """
        linear, (rows, length, _) = self.linear, x_BTD.shape
        if states is None:
            state = jnp.zeros((rows, linear.value_heads, linear.d_key, linear.d_value), jnp.float32)
            states = state, jnp.zeros((rows, linear.conv_width - 1, linear.channels), x_BTD.dtype)
        x_BTD = self.norm(x_BTD)
        mixed, tail = causal_conv(project(x_BTD, self.qkv, None), self.conv[...][:, 0], segments_BT, states[1])
        q, k, v = jnp.split(mixed, (linear.key_width, 2 * linear.key_width), axis=-1)
        shared = linear.value_heads // linear.key_heads
        q, k = (jnp.repeat(y.reshape(rows, length, -1, linear.d_key), shared, axis=2) for y in (q, k))
        v = v.reshape(rows, length, -1, linear.d_value)
        beta = jax.nn.sigmoid(project(x_BTD, self.b, None))
        step = project(x_BTD, self.a, None).astype(jnp.float32) + self.dt_bias[...]
        g = -jnp.exp(self.a_log[...]) * jax.nn.softplus(step)
        read, state = gated_delta_rule(q, k, v, g, beta, segments_BT, states[0])
        read = rms_norm(read.astype(x_BTD.dtype), self.out_norm[...], self.config.norm_epsilon)
        gate = jax.nn.silu(project(x_BTD, self.z, None).astype(jnp.float32))
        gated = (read.reshape(rows, length, -1) * gate).astype(x_BTD.dtype)
        return project(gated, self.o, None), (state, tail)


class LinearLayer(nnx.Module):
    """The delta rule, then feed-forward, each added to the residual stream."""

    def __init__(self, config: DecoderConfig, linear: LinearAttention, *, rngs: nnx.Rngs) -> None:
        self.mixer = DeltaMixer(config, linear, rngs=rngs)
        self.mlp = DecoderMLP(config, rngs=rngs)

    def __call__(
        self, x_BTD: Float[Array, "B T D"], segments_BT: Int[Array, "B T"], states: States | None, key: Key | None
    ) -> tuple[Float[Array, "B T D"], States]:
        """Returns the residual stream after this layer, and the states behind the last token."""
        mixer_key, mlp_key = split_key(key, 2)
        added, states = self.mixer(x_BTD, segments_BT, states)
        x_BTD += dropout(added, self.mixer.config.dropout_rate, mixer_key)
        return x_BTD + self.mlp(x_BTD, mlp_key), states


class LinearStack(nnx.Module):
    """The layers of a decoder that have a state in the place of attention."""

    def __init__(self, config: DecoderConfig, linear: LinearAttention, *, rngs: nnx.Rngs) -> None:
        count = config.num_layers - config.num_layers // linear.every
        self.layers = init_stack(lambda rngs: LinearLayer(config, linear, rngs=rngs), count, rngs)
