"""Rows of a cache: repeated for the beams of a prompt, and reordered between steps.

A cache names the fields that a row writes for itself (``Cache.beam_axes``); what all beams of a prompt share is never
copied. Shapes: R rows of the cache.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


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


def take_rows(cache: Any, rows_R: Int[Array, "R"]) -> Any:
    """Reorders a cache: row r goes on from what was row ``rows_R[r]``; nothing that rows share is copied."""
    return cache._replace(
        **{
            name: jax.tree.map(
                lambda leaf, axis=axis: jnp.take(leaf, rows_R, axis=axis, mode="clip"),
                getattr(cache, name),
            )
            for name, axis in cache.beam_axes.items()
        }
    )
