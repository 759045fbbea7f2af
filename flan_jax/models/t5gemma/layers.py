"""Layers of T5Gemma's decoder: attention to its own tokens and to the encoded inputs, one after the other or merged.

Shapes: B encoded inputs, S their length, R rows of the decoder (B times the beams), T their length, D model width,
E the encoder's, H query heads, G key heads, K width of one head, N places in a cache.
"""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.layers import DecoderAttention, DecoderMLP, LayerInputs, project
from flan_jax.models.ops.attention_mask import AttentionMask
from flan_jax.models.ops.dropout import split_key
from flan_jax.models.ops.initializers import normal
from flan_jax.models.ops.typing import Key

KeysValues = tuple[Float[Array, "B S G K"], Float[Array, "B S G K"]]


class EncodedAttention(DecoderAttention):
    """Attention that reads keys and values of encoded inputs, which are never rotated."""

    def __init__(self, config: DecoderConfig, encoder_width: int, *, rngs: nnx.Rngs) -> None:
        super().__init__(config, rngs=rngs)
        if encoder_width != config.d_model:
            for name in ("k", "v"):
                setattr(self, name, normal(rngs, (encoder_width, config.d_kv_heads), encoder_width**-0.5))

    def encoded_keys_values(self, encoded_BSE: Float[Array, "B S E"]) -> KeysValues:
        """Projects encoded inputs to keys and values."""
        k, v = (project(encoded_BSE, kernel, None) for kernel in (self.k, self.v))
        k, v = (y.reshape(*y.shape[:2], -1, self.config.d_head) for y in (k, v))
        return (self.k_norm(k) if self.config.qk_norm == "head" else k), v

    def queries(self, x_RTD: Float[Array, "R T D"]) -> Float[Array, "R T H K"]:
        """Norms the residual stream and projects it to queries without positions."""
        q = project(self.norm(x_RTD), self.q, None)
        return q.reshape(*q.shape[:2], -1, self.config.d_head)


class T5GemmaDecoderLayer(nnx.Module):
    """Attention, merged or to its own tokens and then to the encoded inputs, and feed-forward."""

    def __init__(self, config: DecoderConfig, encoder_width: int, *, merged: bool, rngs: nnx.Rngs) -> None:
        self.merged = merged
        if merged:
            self.attention = EncodedAttention(config, encoder_width, rngs=rngs)
        else:
            self.attention = DecoderAttention(config, rngs=rngs)  # type: ignore[assignment]
            self.cross_attention = EncodedAttention(config, encoder_width, rngs=rngs)
        self.mlp = DecoderMLP(config, rngs=rngs)

    def encoded_keys_values(self, encoded_BSE: Float[Array, "B S E"]) -> KeysValues:
        """Projects encoded inputs to the keys and values that this layer reads."""
        return (self.attention if self.merged else self.cross_attention).encoded_keys_values(encoded_BSE)

    def __call__(
        self,
        x_RTD: Float[Array, "R T D"],
        inputs: LayerInputs,
        encoded: KeysValues,
        encoded_mask: AttentionMask,
        key: Key | None = None,
        held: Callable[[Array, Array], tuple[Array, Array]] = lambda k, v: (k, v),
    ) -> tuple[Float[Array, "R T D"], Float[Array, "R T G K"], Float[Array, "R T G K"]]:
        """Returns the residual stream after this layer, and the keys and values of these tokens.

        Args:
            inputs: mask of the decoder's own keys, with the encoded ones behind them where attention is merged, and the
                rotary angles of these tokens.
            encoded: of ``encoded_keys_values``; where there are fewer than rows, as many rows side by side share one.
            encoded_mask: mask of the encoded keys, of which ``T`` times the rows that share them are queries.
            key: for dropout.
            held: makes all of the decoder's own keys and values of those of these tokens.
        """
        attention_key, cross_key, mlp_key = split_key(key, 3)
        q, k, v = self.attention.heads(x_RTD, inputs)
        own_k, own_v = held(k, v)
        beams = x_RTD.shape[0] // encoded[0].shape[0]
        if self.merged:
            shared = (jnp.repeat(y, beams, axis=0) if beams > 1 else y for y in encoded)
            own_k, own_v = (jnp.concatenate(pair, axis=1) for pair in zip((own_k, own_v), shared, strict=True))
        x_RTD += self.attention.attend(q, own_k, own_v, inputs.mask, attention_key)
        if not self.merged:
            # Rows that share an encoded input are so many queries of it.
            x_BUD = x_RTD.reshape(encoded[0].shape[0], -1, x_RTD.shape[-1])
            cross = self.cross_attention
            added_BUD = cross.attend(cross.queries(x_BUD), *encoded, encoded_mask, cross_key)
            x_RTD += added_BUD.reshape(x_RTD.shape)
        return x_RTD + self.mlp(x_RTD, mlp_key), k, v
