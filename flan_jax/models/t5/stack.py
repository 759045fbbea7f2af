"""Layers of T5 and stacks of them.

Shapes: B rows of a batch, T decoder length, S encoder length, D model width.
"""

from collections.abc import Callable
from typing import Any

from flax import nnx
from jaxtyping import Array, Float, Int

from flan_jax.models.ops.attention_mask import AttentionMask
from flan_jax.models.ops.dropout import split_key
from flan_jax.models.ops.stack import init_stack, layer_keys, scan_stack
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
        bias: Float[Array, "P H S S"],
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
        bias: Float[Array, "P H T T"],
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
        self.depth = depth
        self.layers = init_stack(lambda rngs: layer(config, rngs=rngs), depth, rngs)
        self.bias = RelativeBias(config, bidirectional=layer is EncoderLayer, rngs=rngs)
        self.norm = RMSNorm(config)

    def position_bias(
        self, length: int, positions_BT: Int[AnyArray, "B T"] | None = None, groups: int = 1
    ) -> Float[Array, "P H T T"] | Float[Array, "B H T T"]:
        """Computes the bias between a row's positions: one for each of ``groups`` of rows, or for each row where positions are given."""
        if positions_BT is None:
            return self.bias.square(length, groups)
        return self.bias.between(positions_BT, positions_BT)

    def scan(self, x: Any, step: Callable[[Any, Any, Any], Any], scanned: Any = None, *, remat: str = "none") -> Any:
        """Scans ``step`` over the layers; see ``ops.stack.scan_stack``."""
        return scan_stack(self.layers, step, x, scanned, remat=remat)

    def layer_keys(self, key: Key | None) -> Key | None:
        """Splits a dropout key into one for each layer; ``None`` stays ``None``."""
        return layer_keys(key, self.depth)


def _self_attention(
    attention: Attention, x_BTD: Array, bias: Array, mask: AttentionMask, key: Key | None
) -> Float[Array, "B T D"]:
    normed_BTD = attention.norm(x_BTD)
    return attention.attend(attention.queries(normed_BTD), *attention.keys_values(normed_BTD), bias, mask, key)
