"""Rows of a cache: repeated for the beams of a prompt, and reordered between steps.

A cache names the fields that a row writes for itself (``Cache.beam_axes``); what all beams of a prompt share is never
copied. Shapes: B prompts, W beams of each, R = B * W rows of the cache.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from flan_jax.models.ops.rows import take_in_groups


def repeat_rows(cache: Any, times: int) -> Any:
    """Repeats each row of a cache ``times`` times, side by side, in the fields that rows write for themselves."""
    if times == 1:
        return cache
    return cache._replace(
        **{
            name: jax.tree.map(lambda leaf, axis=axis: jnp.repeat(leaf, times, axis=axis), getattr(cache, name))
            for name, axis in cache.beam_axes.items()
        }
    )


def take_beams(cache: Any, parent_BW: Int[Array, "B W"]) -> Any:
    """Reorders a cache: a beam goes on from what was beam ``parent_BW`` of its prompt; nothing that beams share is copied."""
    return cache._replace(
        **{
            name: jax.tree.map(lambda leaf, axis=axis: take_in_groups(leaf, parent_BW, axis), getattr(cache, name))
            for name, axis in cache.beam_axes.items()
        }
    )
