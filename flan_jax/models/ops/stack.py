"""Stacks of equal layers: one module whose parameters have a leading axis of layers, and a scan over it.

A deep model so compiles as fast as a shallow one.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array

from flan_jax.models.ops.activation_sharding import place_rows
from flan_jax.models.ops.remat import remat_scan_body
from flan_jax.models.ops.typing import Key


def init_stack(make: Callable[[nnx.Rngs], nnx.Module], depth: int, rngs: nnx.Rngs) -> Any:
    """Initializes ``depth`` layers as one module; each draws its parameters from a key of its own."""

    def state(key: Key) -> nnx.State:
        return nnx.state(make(nnx.Rngs(params=key)))

    keys = jax.random.split(rngs.params(), depth)
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    return nnx.merge(graphdef, jax.vmap(state)(keys))


def scan_stack(
    layers: Any, step: Callable[[Any, Any, Any], Any], x: Any, scanned: Any = None, *, remat: str = "none"
) -> Any:
    """Scans ``x, y = step(layer, x, its part of scanned)`` over the layers of a stack.

    Args:
        layers: of ``init_stack``.
        step: one layer's computation.
        x: what the first layer takes.
        scanned: a pytree with a leading axis of layers, such as a key for each; ``None`` for nothing.
        remat: what is recomputed in the backward pass; see ``remat.REMATS``.

    Returns:
        The last ``x``, and every layer's ``y`` stacked.
    """
    graphdef, state = nnx.split(layers)

    def body(x: Any, layer_inputs: tuple[nnx.State, Any]) -> tuple[Any, Any]:
        layer_state, part = layer_inputs
        return step(nnx.merge(graphdef, layer_state), place_rows(x), part)

    return jax.lax.scan(remat_scan_body(body, remat), x, (state, scanned))


def layer_keys(key: Key | None, depth: int) -> Key | None:
    """Splits a dropout key into one for each layer; ``None`` stays ``None``."""
    return None if key is None else jax.random.split(key, depth)


def write_cache(cached: Array, new: Array, index: Array, axis: int) -> Array:
    """Writes ``new`` into a cache from ``index`` on along ``axis``, in the cache's dtype."""
    return jax.lax.dynamic_update_slice_in_dim(cached, new.astype(cached.dtype), index, axis)
