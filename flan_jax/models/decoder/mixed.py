"""Layers with two sizes of attention, of which the last share keys and values, and what each has of every token (Gemma 4).

Shapes: B rows, T length, S length of the keys, D model width, H query heads, G key heads, K width of one head, L layers,
W width of what a layer has of a token, V vocabulary.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from flan_jax.models.decoder.cache import LayerStates
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.layers import DecoderAttention, DecoderMLP, LayerInputs, Norm, project
from flan_jax.models.decoder.mixed_config import MixedAttention, layer_numbers
from flan_jax.models.decoder.periods import scan_periods, split_layers
from flan_jax.models.ops.activations import activation_of
from flan_jax.models.ops.attention_mask import AttentionMask
from flan_jax.models.ops.dropout import split_key
from flan_jax.models.ops.initializers import normal
from flan_jax.models.ops.norms import rms_norm
from flan_jax.models.ops.rope import apply_rope
from flan_jax.models.ops.stack import init_stack
from flan_jax.models.ops.typing import Key

KeysValues = tuple[Float[Array, "B S G K"], Float[Array, "B S G K"]]


class MixedSelfAttention(DecoderAttention):
    """Attention whose values are normed without a scale, with keys and values of its own or none."""

    def __init__(
        self, config: DecoderConfig, mixed: MixedAttention, *, full: bool, shared: bool, rngs: nnx.Rngs
    ) -> None:
        width, d_heads, d_kv_heads = config.d_model, config.d_heads, config.d_kv_heads
        self.config, self.shared = config, shared
        self.norm = Norm(config, width)
        self.q = normal(rngs, (width, d_heads), width**-0.5)
        self.q_norm = Norm(config, config.d_head)
        self.keys_as_values = full and mixed.keys_as_values
        if not shared:
            self.k = normal(rngs, (width, d_kv_heads), width**-0.5)
            self.k_norm = Norm(config, config.d_head)
            if not self.keys_as_values:
                self.v = normal(rngs, (width, d_kv_heads), width**-0.5)
        self.o = normal(rngs, (d_heads, width), (2 * config.num_layers * d_heads) ** -0.5)
        self.post_norm = Norm(config, width)

    def project_heads(
        self, x_BTD: Float[Array, "B T D"], inputs: LayerInputs
    ) -> tuple[Float[Array, "B T H K"], KeysValues | None]:
        """Projects to queries, and to keys and values where they are this layer's own; all but values are rotated."""
        config, x_BTD = self.config, self.norm(x_BTD)
        cos, sin = inputs.cos, inputs.sin
        assert cos is not None, "positions are rotary in such layers"
        assert sin is not None, "as cos"

        def heads(kernel: nnx.Param) -> Float[Array, "B T G K"]:
            return project(x_BTD, kernel, None).reshape(*x_BTD.shape[:2], -1, config.d_head)

        q = apply_rope(self.q_norm(heads(self.q)), cos, sin)
        if self.shared:
            return q, None
        k = heads(self.k)
        v = k if self.keys_as_values else heads(self.v)
        v = rms_norm(v, jnp.ones((config.d_head,), jnp.float32), config.norm_epsilon)
        return q, (apply_rope(self.k_norm(k), cos, sin), v)


class PerLayerGate(nnx.Module):
    """Adds what a layer has of a token, behind a gate that the residual stream sets."""

    def __init__(self, config: DecoderConfig, width: int, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.gate = normal(rngs, (config.d_model, width), config.d_model**-0.5)
        self.projection = normal(rngs, (width, config.d_model), (2 * config.num_layers * width) ** -0.5)
        self.post_norm = Norm(config, config.d_model)

    def __call__(self, x_BTD: Float[Array, "B T D"], own_BTW: Float[Array, "B T W"]) -> Float[Array, "B T D"]:
        """Computes the addition to the residual stream."""
        gate_BTW = activation_of(self.config.mlp_activation)(project(x_BTD, self.gate, None))
        return self.post_norm(project(gate_BTW * own_BTW, self.projection, None))


class MixedLayer(nnx.Module):
    """Attention, feed-forward and what the layer has of each token, added to the residual stream, which is then scaled."""

    def __init__(
        self, config: DecoderConfig, mixed: MixedAttention, *, full: bool, shared: bool, rngs: nnx.Rngs
    ) -> None:
        self.attention = MixedSelfAttention(config, mixed, full=full, shared=shared, rngs=rngs)
        wide = mixed.shared_d_ff if shared and mixed.shared_d_ff else config.d_ff
        self.mlp = DecoderMLP(dataclasses.replace(config, d_ff=wide), rngs=rngs)
        if mixed.per_layer_width:
            self.per_layer = PerLayerGate(config, mixed.per_layer_width, rngs=rngs)
        self.scalar = nnx.Param(jnp.ones((1,), jnp.float32))

    def attend(
        self,
        x_BTD: Float[Array, "B T D"],
        q_BTHK: Float[Array, "B T H K"],
        seen: KeysValues,
        mask: AttentionMask,
        own_BTW: Float[Array, "B T W"] | None,
        key: Key | None,
    ) -> Float[Array, "B T D"]:
        """Returns the residual stream after this layer.

        Args:
            q_BTHK: of ``project_heads``.
            seen: keys and values that are attended to.
            own_BTW: what the layer has of each token; ``None`` where there is none.
        """
        attention_key, mlp_key = split_key(key, 2)
        x_BTD += self.attention.attend(q_BTHK, *seen, mask, attention_key)
        x_BTD += self.mlp(x_BTD, mlp_key)
        if own_BTW is not None:
            x_BTD += self.per_layer(x_BTD, own_BTW)
        return x_BTD * jax.lax.stop_gradient(self.scalar[...]).astype(x_BTD.dtype)


class PerLayerInputs(nnx.Module):
    """Vector of a token for every layer: a row of a table and a projection of the token's embedding, added up."""

    def __init__(self, config: DecoderConfig, width: int, *, rngs: nnx.Rngs) -> None:
        self.config, self.width = config, width
        everything = config.num_layers * width
        self.table = normal(rngs, (config.vocab_size, everything), width**-0.5)
        self.projection = normal(rngs, (config.d_model, everything), config.d_model**-0.5)
        self.norm = Norm(config, width)

    def __call__(self, tokens_BT: Int[Array, "B T"], x_BTD: Float[Array, "B T D"]) -> Float[Array, "L B T W"]:
        """Computes it of all layers, from the tokens and their embeddings."""
        of_layers = (*tokens_BT.shape, self.config.num_layers, self.width)
        looked_up = self.table[...][tokens_BT].astype(x_BTD.dtype) * jnp.asarray(self.width**0.5, x_BTD.dtype)
        projected = project(x_BTD, self.projection, None) * jnp.asarray(self.config.d_model**-0.5, x_BTD.dtype)
        both = self.norm(projected.reshape(of_layers)) + looked_up.reshape(of_layers)
        return jnp.moveaxis(both * jnp.asarray(2**-0.5, x_BTD.dtype), 2, 0)


class MixedStack(nnx.Module):
    """Layers of one kind."""

    def __init__(
        self, config: DecoderConfig, mixed: MixedAttention, count: int, *, full: bool, shared: bool, rngs: nnx.Rngs
    ) -> None:
        self.layers = init_stack(
            lambda rngs: MixedLayer(config, mixed, full=full, shared=shared, rngs=rngs), count, rngs
        )


def init_stacks(config: DecoderConfig, mixed: MixedAttention, *, rngs: nnx.Rngs) -> dict[str, Any]:
    """Initializes the stacks of a decoder's layers by the names that they have in it; see ``layer_numbers``."""
    windowed, full = mixed.kinds(config)
    counts = {name: len(numbers) for name, numbers in layer_numbers(config, mixed).items()}
    first = init_stack(
        lambda rngs: MixedLayer(windowed, mixed, full=False, shared=False, rngs=rngs), counts["layers"], rngs
    )
    stacks: dict[str, Any] = {"layers": first}
    for name, kind in {"full": full, "shared": windowed, "shared_full": full}.items():
        if name in counts:
            stacks[name] = MixedStack(
                kind, mixed, counts[name], full=kind is full, shared=name.startswith("shared"), rngs=rngs
            )
    return stacks


def scan_mixed(
    model: Any,
    inputs: tuple[LayerInputs, LayerInputs],
    x: Float[Array, "B T D"],
    own: Float[Array, "L B T W"] | None,
    keys: Key | None,
    cached: tuple[KeysValues, KeysValues] | None = None,
    write: Callable[[Array, Array], Array] | None = None,
) -> tuple[Float[Array, "B T D"], LayerStates]:
    """Scans over all layers: those with keys and values of their own, then those that share them.

    Args:
        model: the decoder, with the stacks of ``init_stacks``.
        inputs: of layers with the window and without.
        x: what the first layer takes.
        own: of ``PerLayerInputs``.
        keys: of dropout, one a layer.
        cached: keys and values of earlier tokens, of layers with the window and without, stacked.
        write: puts keys or values of these tokens into a layer's cached ones; needed where there are such.

    Returns:
        The residual stream, and keys and values of these tokens.
    """
    config: DecoderConfig = model.config
    mixed = config.mixed
    assert mixed is not None, "such layers alone"
    every, count = len(config.window_pattern), config.num_layers - mixed.shared

    def with_new(held: KeysValues | None, new: KeysValues) -> KeysValues:
        if held is None or write is None:
            return new
        return write(held[0], new[0]), write(held[1], new[1])

    def own_step(inputs: LayerInputs) -> Callable[[MixedLayer, Array, Any], tuple[Array, KeysValues]]:
        def step(layer: MixedLayer, x: Array, part: Any) -> tuple[Array, KeysValues]:
            (own, key), held = part
            q, new = layer.attention.project_heads(x, inputs)
            assert new is not None, "such layers have keys of their own"
            return layer.attend(x, q, with_new(held, new), inputs.mask, own, key), new

        return step

    def shared_step(
        inputs: LayerInputs, seen: KeysValues
    ) -> Callable[[MixedLayer, Array, Any], tuple[Array, tuple[()]]]:
        def step(layer: MixedLayer, x: Array, part: Any) -> tuple[Array, tuple[()]]:
            q, _ = layer.attention.project_heads(x, inputs)
            return layer.attend(x, q, seen, inputs.mask, *part), ()

        return step

    many, one = split_layers(every, jax.tree.map(lambda y: y[:count], (own, keys)))
    windowed, full = cached or (None, None)
    stacks = (model.layers, model.full.layers)
    steps = (own_step(inputs[0]), own_step(inputs[1]))
    x, near, far = scan_periods(config.remat, stacks, steps, x, ((many, windowed), (one, full)))
    if mixed.shared:
        last = [
            with_new(*(None if pair is None else (pair[0][-1], pair[1][-1]) for pair in pairs))  # type: ignore[arg-type]
            for pairs in ((windowed, near), (full, far))
        ]
        parts = split_layers(every, jax.tree.map(lambda y: y[count:], (own, keys)))
        steps = (shared_step(inputs[0], last[0]), shared_step(inputs[1], last[1]))  # type: ignore[assignment]
        x, _, _ = scan_periods(config.remat, (model.shared.layers, model.shared_full.layers), steps, x, parts)
    return x, LayerStates(*near, *far)
