"""The key-value cache of a decoder, and its rows where prompts begin with the same tokens.

Shapes: B rows of a batch, N places in a cache, P shared tokens, G key heads, K width of one head, L layers.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from flan_jax.models.ops.stack import write_cache


class DecoderCache(NamedTuple):
    """KV cache: a pytree of fixed shapes that a ``lax.while_loop`` can carry.

    Rows end at the same place and begin at different ones, so that every step writes one column.

    Attributes:
        k, v: keys and values of prompt and decoded tokens, ``[L, B, N, G, K]``.
        first: index of each row's first token, ``[B]``.
        place: int32 scalar, index that the next token is written to.
        state: of layers with a state, ``[l, B, H, K, V]``; ``None`` without such layers.
        tail: the last inputs of their convolutions, ``[l, B, w, C]``.
    """

    k: Float[Array, "L B N G K"]
    v: Float[Array, "L B N G K"]
    first: Int[Array, "B"]
    place: Int[Array, ""]
    state: Float[Array, "l B H K V"] | None = None
    tail: Float[Array, "l B w C"] | None = None

    @property
    def beam_axes(self) -> dict[str, int]:
        """Fields that beams reorder, each with its batch axis."""
        return {"k": 1, "v": 1, "first": 0, **({} if self.state is None else {"state": 1, "tail": 1})}

    def with_next(
        self, k: Float[Array, "L B T G K"], v: Float[Array, "L B T G K"], states: tuple[Array, Array] | None = None
    ) -> "DecoderCache":
        """Writes the keys and values of the next T tokens of every row, and the states behind them."""
        keys, values = (write_cache(old, new, self.place, 2) for old, new in ((self.k, k), (self.v, v)))
        return DecoderCache(keys, values, self.first, self.place + k.shape[2], *(states or (None, None)))


def shared_rows(
    k: Float[Array, "L 1 P G K"], v: Float[Array, "L 1 P G K"], first_B: Int[Array, "B"], places: int
) -> DecoderCache:
    """Lays the keys and values of P tokens out as the beginnings of rows that start at different places.

    With P = 4, rows that start at places 0 and 2, and N = 6 (a to d are the tokens)::

        row 0   a b c d . .
        row 1   . . a b . .    its c and d are computed with what follows

    Args:
        k: keys.
        v: values.
        first_B: index of each row's first token, at most P.
        places: N.

    Returns:
        A cache whose next token is written to place P.
    """
    count = k.shape[2]
    token_BP = jnp.maximum(jnp.arange(count)[None] - first_B[:, None], 0)
    room = ((0, 0), (0, 0), (0, places - count), (0, 0), (0, 0))
    keys, values = (jnp.pad(jnp.take(one[:, 0], token_BP, axis=1), room) for one in (k, v))
    return DecoderCache(keys, values, first_B, jnp.asarray(count, jnp.int32))
