"""Layers of two kinds in periods: some of one kind, then one of another, in one scan.

Each kind has a stack of its own, so that their parameters may differ in shape.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array

from flan_jax.models.ops.remat import remat_scan_body


def split_layers(every: int, tree: Any) -> tuple[Any, Any]:
    """Splits arrays with a leading axis of all layers into those of the first ``every - 1`` of each period and of its last."""

    def part(x: Array, stop: slice) -> Array:
        periods = x.reshape(-1, every, *x.shape[1:])[:, stop]
        return periods.reshape(-1, *x.shape[1:])

    return jax.tree.map(lambda x: part(x, slice(-1)), tree), jax.tree.map(lambda x: part(x, slice(-1, None)), tree)


def scan_periods(
    remat: str,
    stacks: tuple[Any, Any],
    steps: tuple[Callable[[Any, Array, Any], Any], Callable[[Any, Array, Any], Any]],
    x: Array,
    scanned: tuple[Any, Any],
) -> tuple[Array, Any, Any]:
    """Scans over periods of layers: first some of one kind, then one of another.

    Args:
        remat: what is recomputed in the backward pass; see ``remat.REMATS``.
        stacks: of ``init_stack``; the second has a layer for each period, the first as many times more.
        steps: ``x, y = step(layer, x, its part of scanned)`` of either.
        x: what the first layer takes.
        scanned: pytrees with a leading axis of either's layers.

    Returns:
        The last ``x``, and the stacked ``y`` of either.
    """
    (many_graph, many_state), (graph, state) = (nnx.split(stack) for stack in stacks)
    periods = jax.tree.leaves(state)[0].shape[0]

    def in_periods(tree: Any) -> Any:
        return jax.tree.map(lambda x: x.reshape(periods, -1, *x.shape[1:]), tree)

    def body(x: Array, of_period: Any) -> tuple[Array, Any]:
        many_parts, (layer_state, part) = of_period

        def inner(x: Array, of_layer: Any) -> tuple[Array, Any]:
            return steps[0](nnx.merge(many_graph, of_layer[0]), x, of_layer[1])

        x, many_out = jax.lax.scan(inner, x, many_parts)
        x, out = steps[1](nnx.merge(graph, layer_state), x, part)
        return x, (many_out, out)

    parts = (in_periods((many_state, scanned[0])), (state, scanned[1]))
    x, (many_out, out) = jax.lax.scan(remat_scan_body(body, remat), x, parts)
    return x, jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:]), many_out), out
