"""The stacks of a decoder's layers, and a pass over all of them: of whole rows, or of tokens that continue cached ones.

Shapes: B rows of a batch, T length, D model width, L layers, W width of what a layer has of a token.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from flan_jax.models.decoder.cache import DecoderCache, LayerStates
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.kinds import scan_kinds
from flan_jax.models.decoder.layers import CausalLayer, LayerInputs
from flan_jax.models.decoder.linear import LinearLayer, LinearStack, States
from flan_jax.models.decoder.mixed import init_stacks, scan_mixed
from flan_jax.models.decoder.periods import scan_periods, split_layers
from flan_jax.models.ops.stack import init_stack, write_cache
from flan_jax.models.ops.typing import Key


def init_layers(config: DecoderConfig, rngs: nnx.Rngs) -> dict[str, Any]:
    """Initializes the stacks of layers, by the names that they have in a ``Decoder``."""
    if config.mixed is not None:
        return init_stacks(config, config.mixed, rngs=rngs)
    with_attention = config.num_layers // (1 if config.linear is None else config.linear.every)
    stacks: dict[str, Any] = {"layers": init_stack(lambda rngs: CausalLayer(config, rngs=rngs), with_attention, rngs)}
    if config.linear is not None:
        stacks["linear"] = LinearStack(config, config.linear, rngs=rngs)
    return stacks


def run_rows(
    model: Any,
    inputs: tuple[LayerInputs, ...],
    x_BTD: Float[Array, "B T D"],
    own: Float[Array, "L B T W"] | None,
    seen_BT: Int[Array, "B T"],
    keys: Key | None,
) -> tuple[Float[Array, "B T D"], LayerStates]:
    """Runs whole rows through all layers.

    Args:
        model: the decoder.
        inputs: of each kind of layers.
        x_BTD: embeddings.
        own: what each layer has of the tokens; ``None`` for nothing.
        seen_BT: segment ids, 0 of what no token sees.
        keys: of dropout, one a layer.

    Returns:
        The residual stream after all layers, and what they have of the tokens.
    """
    if model.config.mixed is not None:
        return scan_mixed(model, (inputs[0], inputs[1]), x_BTD, own, keys)

    def step(layer: CausalLayer, x_BTD: Array, inputs: LayerInputs, key: Key | None) -> tuple[Array, Any]:
        x_BTD, k, v = layer(x_BTD, inputs, key)
        return x_BTD, (k, v)

    def linear_step(layer: LinearLayer, x_BTD: Array, key: Key | None) -> tuple[Array, States]:
        return layer(x_BTD, seen_BT, None, key)

    linear_keys = None
    if model.config.linear is not None:
        linear_keys, keys = split_layers(model.config.linear.every, keys)
    return _scan(model, inputs, (linear_step, step), x_BTD, (linear_keys, keys))


def run_cached(
    model: Any,
    inputs: tuple[LayerInputs, ...],
    x_BTD: Float[Array, "B T D"],
    own: Float[Array, "L B T W"] | None,
    cache: DecoderCache,
    rows: Callable[[Array], Array],
) -> tuple[Float[Array, "B T D"], LayerStates]:
    """Runs tokens that continue cached rows; the other arguments are those of ``run_rows``.

    Args:
        cache: of the rows.
        rows: takes of a layer's cached arrays the rows that are continued.
    """

    def write(cached: Array, new: Array) -> Array:
        return write_cache(rows(cached), new, cache.place, 1)

    if model.config.mixed is not None:
        assert cache.full_k is not None, "the cache of another model"
        assert cache.full_v is not None, "as full_k"
        cached = ((cache.k, cache.v), (cache.full_k, cache.full_v))
        return scan_mixed(model, (inputs[0], inputs[1]), x_BTD, own, None, cached, write)

    def step(layer: CausalLayer, x_BTD: Array, inputs: LayerInputs, cached: tuple[Array, Array]) -> tuple[Array, Any]:
        q, k, v = layer.attention.heads(x_BTD, inputs)
        x_BTD += layer.attention.attend(q, write(cached[0], k), write(cached[1], v), inputs.mask)
        return x_BTD + layer.mlp(x_BTD), (k, v)

    def linear_step(layer: LinearLayer, x_BTD: Array, cached: States) -> tuple[Array, States]:
        return layer(x_BTD, jnp.ones(x_BTD.shape[:2], jnp.int32), (rows(cached[0]), rows(cached[1])), None)

    # Only what these tokens add leaves the scan, so that a large cache is updated once, in place.
    scanned = ((cache.state, cache.tail), (cache.k, cache.v))
    return _scan(model, inputs, (linear_step, step), x_BTD, scanned)


def _scan(
    model: Any, inputs: tuple[LayerInputs, ...], steps: tuple[Any, Any], x: Array, scanned: tuple[Any, Any]
) -> tuple[Array, LayerStates]:
    """Scans over layers with a state and layers with attention, each by its own step."""
    config: DecoderConfig = model.config
    if config.linear is None:
        x, (k, v) = scan_kinds(model.layers, config, inputs, steps[1], x, scanned[1])
        return x, LayerStates(k, v)

    def step(layer: CausalLayer, x: Array, part: Any) -> Any:
        return steps[1](layer, x, inputs[0], part)

    stacks = (model.linear.layers, model.layers)
    x, (state, tail), (k, v) = scan_periods(config.remat, stacks, (steps[0], step), x, scanned)
    return x, LayerStates(k, v, state=state, tail=tail)
