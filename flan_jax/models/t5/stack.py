"""The layers of T5 and a stack of them.

Layers of a stack are one module whose parameters carry a leading axis of layers; the forward pass
scans over it, so a deep model compiles as fast as a shallow one.

Shapes: B rows of a batch, T decoder length, S encoder length, D model width.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

from flan_jax.models.ops.attention_mask import AttentionMask
from flan_jax.models.ops.dropout import split_key
from flan_jax.models.ops.remat import remat_scan_body
from flan_jax.models.ops.typing import AnyArray, Key
from flan_jax.models.t5.attention import Attention, RelativeBias
from flan_jax.models.t5.config import T5Config
from flan_jax.models.t5.layers import FeedForward, RMSNorm


class EncoderLayer(nnx.Module):
    """Self-attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs) -> None:
        self.attention = Attention(config, rngs=rngs)
        self.mlp = FeedForward(config, rngs=rngs)

    def __call__(
        self,
        x_BSD: Float[Array, "B S D"],
        bias: Float[Array, "#B H S S"],
        mask: AttentionMask,
        key: Key | None,
    ) -> Float[Array, "B S D"]:
        """Returns the residual stream after this layer."""
        attention_key, mlp_key = split_key(key, 2)
        x_BSD += _self_attention(self.attention, x_BSD, bias, mask, attention_key)
        return x_BSD + self.mlp(x_BSD, mlp_key)


class DecoderLayer(nnx.Module):
    """Self-attention, attention to the encoded inputs, then feed-forward."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs) -> None:
        self.attention = Attention(config, rngs=rngs)
        self.cross_attention = Attention(config, rngs=rngs)
        self.mlp = FeedForward(config, rngs=rngs)

    def __call__(
        self,
        x_BTD: Float[Array, "B T D"],
        encoded_BSD: Float[Array, "B S D"],
        bias: Float[Array, "#B H T T"],
        mask: AttentionMask,
        cross_mask: AttentionMask,
        key: Key | None,
    ) -> Float[Array, "B T D"]:
        """Returns the residual stream after this layer."""
        attention_key, cross_key, mlp_key = split_key(key, 3)
        x_BTD += _self_attention(self.attention, x_BTD, bias, mask, attention_key)
        cross = self.cross_attention
        q_BHTK = cross.queries(cross.norm(x_BTD))
        x_BTD += cross.attend(q_BHTK, *cross.keys_values(encoded_BSD), None, cross_mask, cross_key)
        return x_BTD + self.mlp(x_BTD, mlp_key)


class Stack(nnx.Module):
    """A stack of layers, the position bias they share, and the norm after the last."""

    def __init__(self, config: T5Config, layer: Callable[..., nnx.Module], depth: int, *, rngs: nnx.Rngs) -> None:
        def make(key: Key) -> nnx.State:
            return nnx.state(layer(config, rngs=nnx.Rngs(params=key)))

        self.depth = depth
        keys = jax.random.split(rngs.params(), depth)
        graphdef = nnx.graphdef(nnx.eval_shape(lambda: layer(config, rngs=nnx.Rngs(0))))
        self.layers = nnx.merge(graphdef, jax.vmap(make)(keys))
        self.bias = RelativeBias(config, bidirectional=layer is EncoderLayer, rngs=rngs)
        self.norm = RMSNorm(config)

    def position_bias(
        self, length: int, positions_BT: Int[AnyArray, "B T"] | None = None
    ) -> Float[Array, "1 H T T"] | Float[Array, "B H T T"]:
        """Computes the bias between a row's positions: one for all rows, or for each row where positions are given."""
        return self.bias.square(length) if positions_BT is None else self.bias.between(positions_BT, positions_BT)

    def scan(self, x: Any, step: Callable[[Any, Any, Any], Any], scanned: Any = None, *, remat: str = "none") -> Any:
        """Scans ``x, y = step(layer, x, its part of scanned)`` over the layers.

        Args:
            scanned: a pytree with a leading axis of layers, such as a key for each; ``None`` for nothing.
            remat: what is computed again in the backward pass; see ``remat.REMATS``.

        Returns:
            The last ``x``, and every layer's ``y`` stacked.
        """
        graphdef, state = nnx.split(self.layers)

        def body(x: Any, layer_inputs: tuple[nnx.State, Any]) -> tuple[Any, Any]:
            layer_state, part = layer_inputs
            return step(nnx.merge(graphdef, layer_state), x, part)

        return jax.lax.scan(remat_scan_body(body, remat), x, (state, scanned))

    def layer_keys(self, key: Key | None) -> Key | None:
        """Splits a dropout key into one for each layer; ``None`` stays ``None``."""
        return None if key is None else jax.random.split(key, self.depth)


def _self_attention(
    attention: Attention, x_BTD: Array, bias: Array, mask: AttentionMask, key: Key | None
) -> Float[Array, "B T D"]:
    normed_BTD = attention.norm(x_BTD)
    return attention.attend(attention.queries(normed_BTD), *attention.keys_values(normed_BTD), bias, mask, key)
