"""Kinds of layers in one stack: with the window or without it, each with its rotary positions.

Layers of all kinds have parameters of the same shapes, so that one scan runs over them; what differs is an input.

Shapes: B rows of a batch, T length.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.layers import LayerInputs
from flan_jax.models.ops.attention_mask import AttentionMask
from flan_jax.models.ops.rope import rope_cos_sin
from flan_jax.models.ops.stack import scan_stack
from flan_jax.models.ops.typing import AnyArray

_FAR = 2**30
"""A window that is wider than any text."""


def inputs_of_kinds(
    config: DecoderConfig,
    mask: AttentionMask,
    positions_BT: Int[AnyArray, "B T"],
    ahead: int | None = None,
    window: int | None = None,
) -> tuple[LayerInputs, ...]:
    """Returns the inputs of each kind of layers, in the order of ``config.layer_kinds``.

    Args:
        config: of the layers.
        mask: without a window.
        positions_BT: of the tokens.
        ahead: keys ahead that the window spans, its own included, of layers that read in both directions.
        window: keys back that it spans; by default ``config.sliding_window``.
    """
    if config.mixed is not None:  # either kind has a stack of its own, so that their arrays may differ in shape
        return tuple(inputs_of_kinds(kind, mask, positions_BT)[0] for kind in config.mixed.kinds(config))
    kinds, _ = config.layer_kinds
    mixed = len({kind.local for kind in kinds}) > 1
    window = config.sliding_window if window is None else window

    def windowed(back: int | None, front: int | None) -> AttentionMask:
        one, other = (None if side is None else jnp.int32(side) for side in (back, front))
        return dataclasses.replace(mask, window=one, ahead=other)

    def inputs(local: bool, rotated: bool, normed: bool) -> LayerInputs:
        has_norm = None if config.first_norm else jnp.asarray(normed)
        seen = windowed(window, ahead) if local else mask
        if mixed and not local:  # a scan over both kinds needs the same arrays of both
            seen = windowed(_FAR, None if ahead is None else _FAR)
        if config.position == "learned":
            return LayerInputs(seen, None, None, has_norm)
        own_base = local and config.local_rope_theta is not None
        theta, scaling = (config.local_rope_theta, None) if own_base else (config.rope_theta, config.rope_scaling)
        cos, sin = rope_cos_sin(positions_BT, config.d_rotary, theta, scaling)  # type: ignore[arg-type]
        if not rotated:
            cos, sin = jnp.ones_like(cos), jnp.zeros_like(sin)
        return LayerInputs(seen, cos, sin, has_norm)

    return tuple(inputs(*kind) for kind in kinds)


def scan_kinds(
    layers: Any,
    config: DecoderConfig,
    inputs: tuple[LayerInputs, ...],
    step: Callable[[Any, Array, LayerInputs, Any], Any],
    x: Any,
    scanned: Any = None,
) -> Any:
    """Scans ``x, y = step(layer, x, its inputs, its part of scanned)`` over the layers.

    Args:
        layers: of ``ops.stack.init_stack``.
        config: of the layers.
        inputs: of ``inputs_of_kinds``.
        step: one layer's computation.
        x: what the first layer takes.
        scanned: a pytree with a leading axis of layers; ``None`` for nothing.

    Returns:
        The last ``x``, and every layer's ``y`` stacked.
    """

    def body(layer: Any, x: Array, of_layer: tuple[Array, Any]) -> tuple[Array, Any]:
        kind, part = of_layer
        chosen = inputs[0]
        for number, other in enumerate(inputs[1:], 1):
            chosen = jax.tree.map(lambda a, b, number=number: jnp.where(kind == number, b, a), chosen, other)
        return step(layer, x, chosen, part)

    return scan_stack(layers, body, x, (jnp.asarray(config.layer_kinds[1]), scanned), remat=config.remat)
