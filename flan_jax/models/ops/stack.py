"""Stacks of equal layers: one module whose parameters have a leading axis of layers, and a scan over it.

A deep model so compiles as fast as a shallow one. What decodes token by token on a CPU may take the layers apart first:
there XLA copies every layer's part of the stack before it reads it, in every step.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from flan_jax.models.ops.activation_sharding import place_rows
from flan_jax.models.ops.attention_impl import target_backend
from flan_jax.models.ops.remat import remat_scan_body
from flan_jax.models.ops.typing import Key

UNSTACKED_BYTES = range(8 * 2**20, 2 * 2**30)
"""Bytes of a stack that is worth taking apart on a CPU. A smaller one is compiled longer than it saves; of a larger one
there would be no room for a second copy while texts are written.

Measured with T5 small (88 MB of decoder layers) on two cores, 8 texts of 32 tokens behind 832: 62 CPU milliseconds a step
instead of 84, compiled in 1.9 s instead of 1.2."""


class PerLayer(tuple[Any, ...]):
    """An array for each layer, in the place of one array with a leading axis of layers."""


jax.tree_util.register_pytree_node(PerLayer, lambda arrays: (tuple(arrays), None), lambda _, arrays: PerLayer(arrays))


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
        layers: of ``init_stack`` or ``unstack``.
        step: one layer's computation.
        x: what the first layer takes.
        scanned: a pytree with a leading axis of layers, such as a key for each; ``None`` for nothing. ``PerLayer``
            where layers are unstacked.
        remat: what is recomputed in the backward pass; see ``remat.REMATS``. Unstacked layers have none.

    Returns:
        The last ``x``, and every layer's ``y`` stacked.
    """
    if isinstance(layers, nnx.List):
        return _each_in_turn(layers, step, x, scanned)
    graphdef, state = nnx.split(layers)

    def body(x: Any, layer_inputs: tuple[nnx.State, Any]) -> tuple[Any, Any]:
        layer_state, part = layer_inputs
        return step(nnx.merge(graphdef, layer_state), place_rows(x), part)

    return jax.lax.scan(remat_scan_body(body, remat), x, (state, scanned))


def _each_in_turn(layers: nnx.List, step: Callable[[Any, Any, Any], Any], x: Any, scanned: Any) -> Any:
    outputs = []
    for index, layer in enumerate(layers):
        part = jax.tree.map(lambda leaf, at=index: leaf[at], scanned, is_leaf=lambda leaf: isinstance(leaf, PerLayer))
        x, output = step(layer, place_rows(x), part)
        outputs.append(output)
    return x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *outputs)


def worth_unstacking(layers: Any) -> bool:
    """Tells whether steps over a stack are faster with layers apart, by their bytes and by what is compiled for."""
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(nnx.state(layers)))
    return target_backend() == "cpu" and size in UNSTACKED_BYTES


def unstack(layers: Any) -> nnx.List:
    """Takes a stack of ``init_stack`` apart: a list of layers with parameters of their own, for ``scan_stack``."""
    graphdef, state = nnx.split(layers)
    depth = jax.tree.leaves(state)[0].shape[0]
    parts = [jax.tree.map(lambda leaf, at=index: leaf[at], state) for index in range(depth)]
    return nnx.List([nnx.merge(graphdef, part) for part in parts])


def layer_keys(key: Key | None, depth: int) -> Key | None:
    """Splits a dropout key into one for each layer; ``None`` stays ``None``."""
    return None if key is None else jax.random.split(key, depth)


def write_cache(cached: Array, new: Array, index: Array, axis: int) -> Array:
    """Writes ``new`` into a cache from ``index`` on along ``axis``, in the cache's dtype."""
    return jax.lax.dynamic_update_slice_in_dim(cached, new.astype(cached.dtype), index, axis)
