"""One layer of a decoder: norms, attention with shared key heads, feed-forward.

Shapes: B rows of a batch, T query length, S key length, D model width, H query heads, G key heads,
R = H / G, K width of one head, M = H * K, F feed-forward width, W width of whatever is normed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.ops.activations import activation_of
from flan_jax.models.ops.attention import dot_product_attention
from flan_jax.models.ops.attention_impl import select_impl
from flan_jax.models.ops.attention_mask import AttentionMask
from flan_jax.models.ops.attention_passes import AttentionOptions
from flan_jax.models.ops.dropout import dropout, split_key
from flan_jax.models.ops.initializers import normal
from flan_jax.models.ops.linear import linear
from flan_jax.models.ops.norms import rms_norm
from flan_jax.models.ops.remat import recompute
from flan_jax.models.ops.rope import apply_rope
from flan_jax.models.ops.typing import Key


class LayerInputs(NamedTuple):
    """Attention mask and rotary angles, the same for all layers of a kind (with or without the window).

    Attributes:
        mask: which keys each query attends to.
        cos, sin: of the rotary angles of queries and of keys at the same positions; ``None`` without RoPE.
        normed: whether attention has a norm in front of it; ``None`` where it has one in every layer.
    """

    mask: AttentionMask
    cos: Float[Array, "B T F"] | None
    sin: Float[Array, "B T F"] | None
    normed: Bool[Array, ""] | None = None


def zeros(width: int) -> nnx.Param:
    """Creates a float32 vector parameter of zeros."""
    return nnx.Param(jnp.zeros((width,), jnp.float32))


def project(x: Float[Array, "... m"], kernel: nnx.Param, bias: nnx.Param | None) -> Float[Array, "... n"]:
    """Computes ``x @ kernel + bias`` in the dtype of ``x``."""
    product = linear(x, kernel)
    return product if bias is None else product + bias[...].astype(x.dtype)


class Norm(nnx.Module):
    """RMS norm or layer norm over the last axis, computed in float32."""

    def __init__(self, config: DecoderConfig, width: int) -> None:
        self.config = config
        self.scale = nnx.Param(jnp.full((width,), 0.0 if config.norm_offset else 1.0, jnp.float32))
        if config.norm == "layer" and config.norm_bias:
            self.bias = zeros(width)

    def __call__(self, x: Float[Array, "... W"]) -> Float[Array, "... W"]:
        """Normalizes and scales ``x``, in its dtype."""
        config = self.config
        scale = 1.0 + self.scale[...] if config.norm_offset else self.scale[...]
        if config.norm == "rms":
            return rms_norm(x, scale, config.norm_epsilon)
        wide = x.astype(jnp.float32)
        centered = wide - jnp.mean(wide, axis=-1, keepdims=True)
        normed = rms_norm(centered, scale, config.norm_epsilon)
        return (normed + self.bias[...] if config.norm_bias else normed).astype(x.dtype)


class DecoderAttention(nnx.Module):
    """Causal attention with grouped key heads: projections, QK-norm, RoPE, and the norms around it.

    Kernels are matrices with the heads side by side, as in T5: the shape that factored optimisers and
    low-rank adapters know.
    """

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs) -> None:
        d_model, d_heads, d_kv_heads = config.d_model, config.d_heads, config.d_kv_heads
        self.config = config
        if config.norm_placement != "post":
            self.norm = Norm(config, d_model)
        d_queries = d_heads * (2 if config.gated_attention else 1)  # of each head its query, then its gate
        self.q = normal(rngs, (d_model, d_queries), d_model**-0.5)
        self.k = normal(rngs, (d_model, d_kv_heads), d_model**-0.5)
        self.v = normal(rngs, (d_model, d_kv_heads), d_model**-0.5)
        # What is added to the residual stream starts small, so that many layers sum up to something of size 1.
        self.o = normal(rngs, (d_heads, d_model), (2 * config.num_layers * d_heads) ** -0.5)
        if config.attention_bias:
            self.q_bias, self.k_bias, self.v_bias = zeros(d_queries), zeros(d_kv_heads), zeros(d_kv_heads)
        if config.output_bias:
            self.o_bias = zeros(d_model)
        if config.qk_norm:
            head = config.qk_norm == "head"
            self.q_norm = Norm(config, config.d_head if head else d_heads)
            self.k_norm = Norm(config, config.d_head if head else d_kv_heads)
        if config.norm_placement != "pre":
            self.post_norm = Norm(config, d_model)

    def heads(
        self, x_BTD: Float[Array, "B T D"], inputs: LayerInputs
    ) -> tuple[Float[Array, "B T H K"], Float[Array, "B T G K"], Float[Array, "B T G K"]]:
        """Projects to queries, keys and values, with QK-norm and RoPE where the configuration has them.

        Behind each query stands its gate where attention is gated, which ``attend`` takes off again.
        """
        config, biased = self.config, self.config.attention_bias
        if config.norm_placement != "post":
            normed_BTD = self.norm(x_BTD)
            x_BTD = normed_BTD if inputs.normed is None else jnp.where(inputs.normed, normed_BTD, x_BTD)
        q = project(x_BTD, self.q, self.q_bias if biased else None)
        k = project(x_BTD, self.k, self.k_bias if biased else None)
        v = project(x_BTD, self.v, self.v_bias if biased else None)
        if config.qk_norm == "full":
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (y.reshape(*y.shape[:2], -1, config.d_head) for y in (q, k, v))
        gate = None
        if config.gated_attention:
            q, gate = jnp.split(q.reshape(*q.shape[:2], config.num_heads, -1), 2, axis=-1)
        if config.qk_norm == "head":
            q, k = self.q_norm(q), self.k_norm(k)
        if inputs.cos is not None and inputs.sin is not None:
            q, k = apply_rope(q, inputs.cos, inputs.sin), apply_rope(k, inputs.cos, inputs.sin)
        return (q if gate is None else jnp.concatenate([q, gate], axis=-1)), k, v

    def attend(
        self,
        q_BTHK: Float[Array, "B T H K"],
        k_BSGK: Float[Array, "B S G K"],
        v_BSGK: Float[Array, "B S G K"],
        mask: AttentionMask,
        key: Key | None = None,
    ) -> Float[Array, "B T D"]:
        """Computes attention's addition to the residual stream. Rows of queries without a visible key are meaningless."""
        config = self.config
        scale = config.d_head**-0.5 if config.query_scale is None else config.query_scale
        gate_BTM = None
        if config.gated_attention:
            q_BTHK, gate_BTHK = jnp.split(q_BTHK, 2, axis=-1)
            gate_BTM = gate_BTHK.reshape(*gate_BTHK.shape[:2], -1)
        rows, queries, heads, _ = q_BTHK.shape
        impl = select_impl(
            config.attention, rows=rows, heads=heads, queries=queries, keys=k_BSGK.shape[1],
            cudnn_refuses=config.cudnn_refusal, aligned=mask.aligned,
        )  # fmt: skip
        if impl.kind == "cudnn":
            mixed_BTHK = cudnn_attention(q_BTHK, k_BSGK, v_BSGK, mask, scale)
            mixed_BTM = mixed_BTHK.reshape(*mixed_BTHK.shape[:2], -1)
        else:
            options = AttentionOptions(scale, config.attention_softcap, impl.query_chunk, impl.batch_chunk)
            q, k, v = (x.swapaxes(1, 2) for x in (q_BTHK, k_BSGK, v_BSGK))
            mixed_BTM = dot_product_attention(q, k, v, None, mask, options)
        if gate_BTM is not None:
            mixed_BTM *= jax.nn.sigmoid(gate_BTM)
        out_BTD = project(mixed_BTM, self.o, self.o_bias if config.output_bias else None)
        if config.norm_placement != "pre":
            out_BTD = self.post_norm(out_BTD)
        return dropout(out_BTD, config.dropout_rate, key)


def cudnn_attention(
    q_BTHK: Float[Array, "B T H K"],
    k_BSGK: Float[Array, "B S G K"],
    v_BSGK: Float[Array, "B S G K"],
    mask: AttentionMask,
    scale: float,
) -> Float[Array, "B T H K"]:
    """Calls NVIDIA's fused kernel; see ``ops.attention_impl`` for how it takes masks."""
    mask_B1TS = mask.materialize()[:, None]
    causal = mask.causal and mask.query_prefix is None
    return jax.nn.dot_product_attention(
        q_BTHK, k_BSGK, v_BSGK, mask=mask_B1TS, scale=scale, is_causal=causal, implementation="cudnn"
    )


class DecoderMLP(nnx.Module):
    """Feed-forward layer: one or two projections up, an activation, a projection down, and the norms around them."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs) -> None:
        d_model, d_ff = config.d_model, config.d_ff
        self.config = config
        if config.norm_placement != "post":
            self.norm = Norm(config, d_model)
        if config.gated:
            self.wi_0 = normal(rngs, (d_model, d_ff), d_model**-0.5)
            self.wi_1 = normal(rngs, (d_model, d_ff), d_model**-0.5)
        else:
            self.wi = normal(rngs, (d_model, d_ff), d_model**-0.5)
        self.wo = normal(rngs, (d_ff, d_model), (2 * config.num_layers * d_ff) ** -0.5)
        if config.mlp_bias:
            if config.gated:
                self.wi_0_bias, self.wi_1_bias = zeros(d_ff), zeros(d_ff)
            else:
                self.wi_bias = zeros(d_ff)
            self.wo_bias = zeros(d_model)
        if config.norm_placement != "pre":
            self.post_norm = Norm(config, d_model)

    def __call__(self, x_BTD: Float[Array, "B T D"], key: Key | None = None) -> Float[Array, "B T D"]:
        """Computes the layer's addition to the residual stream."""
        config, biased = self.config, self.config.mlp_bias
        activation = activation_of(config.mlp_activation)
        if config.norm_placement != "post":
            x_BTD = self.norm(x_BTD)
        if config.gated:
            gate_BTF = project(x_BTD, self.wi_0, self.wi_0_bias if biased else None)
            up_BTF = project(x_BTD, self.wi_1, self.wi_1_bias if biased else None)
            h_BTF = recompute(lambda gate, up: activation(gate) * up, gate_BTF, up_BTF)
        else:
            h_BTF = recompute(activation, project(x_BTD, self.wi, self.wi_bias if biased else None))
        out_BTD = project(h_BTF, self.wo, self.wo_bias if biased else None)
        if config.norm_placement != "pre":
            out_BTD = self.post_norm(out_BTD)
        return dropout(out_BTD, config.dropout_rate, key)


class CausalLayer(nnx.Module):
    """Attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs) -> None:
        self.attention = DecoderAttention(config, rngs=rngs)
        self.mlp = DecoderMLP(config, rngs=rngs)

    def __call__(
        self, x_BTD: Float[Array, "B T D"], inputs: LayerInputs, key: Key | None
    ) -> tuple[Float[Array, "B T D"], Float[Array, "B T G K"], Float[Array, "B T G K"]]:
        """Returns the residual stream after this layer, and its keys and values."""
        attention_key, mlp_key = split_key(key, 2)
        q, k, v = self.attention.heads(x_BTD, inputs)
        x_BTD += self.attention.attend(q, k, v, inputs.mask, attention_key)
        return x_BTD + self.mlp(x_BTD, mlp_key), k, v
