"""Places of tokens in the segments of packed rows: of each row, the tokens of a segment stand together.

Shapes: B rows, T tokens.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from flan_jax.models.ops.typing import AnyArray


def positions_in_segments(segment_ids_BT: Int[AnyArray, "B T"]) -> Int[Array, "B T"]:
    """Each token's place in its segment: ``[1, 1, 2, 2, 2]`` → ``[0, 1, 0, 1, 2]``."""
    segment_ids_BT = jnp.asarray(segment_ids_BT)
    place_T = jnp.arange(segment_ids_BT.shape[1], dtype=jnp.int32)
    return place_T - jax.lax.cummax(jnp.where(_begins(segment_ids_BT), place_T, 0), axis=1)


def with_start_token(
    tokens_BT: Int[AnyArray, "B T"], segment_ids_BT: Int[AnyArray, "B T"] | None, start_id: int
) -> Int[Array, "B T"]:
    """Puts the decoder's start token at the first place of each segment, where a row of training has 0.

    >>> with_start_token(jnp.array([[0, 7, 0, 9, 4]]), jnp.array([[1, 1, 2, 2, 2]]), 2).tolist()
    [[2, 7, 2, 9, 4]]

    Args:
        tokens_BT: what a decoder reads. A first token that is none of 0 stays as it is.
        segment_ids_BT: by default a row is one segment.
        start_id: of the model's configuration.
    """
    tokens_BT = jnp.asarray(tokens_BT)
    if start_id == 0:
        return tokens_BT
    first_BT = _begins(jnp.zeros_like(tokens_BT) if segment_ids_BT is None else jnp.asarray(segment_ids_BT))
    return jnp.where(first_BT.at[:, 0].set(True) & (tokens_BT == 0), start_id, tokens_BT)


def _begins(segment_ids_BT: Int[Array, "B T"]) -> Bool[Array, "B T"]:
    """Tells of each token but a row's first whether another segment is before it."""
    return jnp.pad(segment_ids_BT[:, 1:] != segment_ids_BT[:, :-1], ((0, 0), (1, 0)))
