"""Dropout, one mask for all positions of a row. Shapes: B rows of a batch, T length."""

import jax
from jaxtyping import Array, Float

from flan_jax.models.ops.typing import Key


def split_key(key: Key | None, count: int) -> list[Key] | list[None]:
    """Splits a key into ``count``; ``None`` (no dropout) gives as many ``None``."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def dropout(x: Float[Array, "B T ..."], rate: float, key: Key | None) -> Float[Array, "B T ..."]:
    """Zeroes a share ``rate`` of the features of each row and scales up the others; ``key=None`` changes nothing.

    One mask serves all positions of a row, as in T5's own training code (Mesh-TF T5 and T5X leave the
    length out of the noise shape), so the random bits cost next to nothing.
    """
    if key is None or rate == 0.0:
        return x
    keep = jax.random.bernoulli(key, 1.0 - rate, (x.shape[0], 1, *x.shape[2:]))
    return x * (keep / (1.0 - rate)).astype(x.dtype)
