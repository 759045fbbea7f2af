"""The key-value cache of a decoder, and its rows where prompts begin with the same tokens.

Shapes: B rows of a batch, T tokens, N places in a cache, P shared tokens, G key heads, K width of one head, L layers.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from flan_jax.models.ops.stack import write_cache


class LayerStates(NamedTuple):
    """Keys and values of tokens that all layers ran, and states behind the last token.

    Attributes:
        k, v: keys and values, ``[L, B, T, G, K]``; of mixed layers those with the window that have keys of their own.
        full_k, full_v: those without the window, of which heads may be others; ``None`` where all layers are alike.
        state: of layers with a state, ``[l, B, H, K, V]``; ``None`` without such layers.
        tail: the last inputs of their convolutions, ``[l, B, w, C]``.
    """

    k: Float[Array, "L B T G K"]
    v: Float[Array, "L B T G K"]
    full_k: Float[Array, "M B T g k"] | None = None
    full_v: Float[Array, "M B T g k"] | None = None
    state: Float[Array, "l B H K V"] | None = None
    tail: Float[Array, "l B w C"] | None = None


_KEYS = ("k", "v", "full_k", "full_v")  # one of each token; there is one state of all of them


class DecoderCache(NamedTuple):
    """KV cache: a pytree of fixed shapes that a ``lax.while_loop`` can carry.

    Rows end at the same place and begin at different ones, so that every step writes one column.

    Attributes:
        k, v: keys and values of prompt and decoded tokens, ``[L, B, N, G, K]``.
        first: index of each row's first token, ``[B]``.
        place: int32 scalar, index that the next token is written to.
        full_k, full_v, state, tail: as in ``LayerStates``.
    """

    k: Float[Array, "L B N G K"]
    v: Float[Array, "L B N G K"]
    first: Int[Array, "B"]
    place: Int[Array, ""]
    full_k: Float[Array, "M B N g k"] | None = None
    full_v: Float[Array, "M B N g k"] | None = None
    state: Float[Array, "l B H K V"] | None = None
    tail: Float[Array, "l B w C"] | None = None

    @property
    def beam_axes(self) -> dict[str, int]:
        """Fields that beams reorder, each with its batch axis."""
        others = ("full_k", "full_v", "state", "tail")
        return {"k": 1, "v": 1, "first": 0, **{name: 1 for name in others if getattr(self, name) is not None}}

    def with_next(self, new: LayerStates) -> "DecoderCache":
        """Writes the keys and values of the next T tokens of every row, and the states behind them."""
        written = {
            name: write_cache(getattr(self, name), getattr(new, name), self.place, 2)
            for name in _KEYS
            if getattr(new, name) is not None
        }
        return self._replace(**written, place=self.place + new.k.shape[2], state=new.state, tail=new.tail)


def new_cache(of: LayerStates, first_B: Int[Array, "B"], room: int) -> DecoderCache:
    """Makes the cache of rows that were run.

    Args:
        of: all their tokens.
        first_B: index of each row's first token.
        room: places behind them.
    """
    behind = ((0, 0), (0, 0), (0, room), (0, 0), (0, 0))
    padded = {name: jnp.pad(getattr(of, name), behind) for name in _KEYS if getattr(of, name) is not None}
    place = jnp.asarray(of.k.shape[2], jnp.int32)
    return DecoderCache(**padded, first=first_B, place=place, state=of.state, tail=of.tail)


def shared_rows(of: LayerStates, first_B: Int[Array, "B"], places: int) -> DecoderCache:
    """Lays the keys and values of P tokens out as the beginnings of rows that start at different places.

    With P = 4, rows that start at places 0 and 2, and N = 6 (a to d are the tokens)::

        row 0   a b c d . .
        row 1   . . a b . .    its c and d are computed with what follows

    Args:
        of: keys and values, of one row.
        first_B: index of each row's first token, at most P.
        places: N.

    Returns:
        A cache whose next token is written to place P.
    """
    count = of.k.shape[2]
    token_BP = jnp.maximum(jnp.arange(count)[None] - first_B[:, None], 0)
    laid = {
        name: jnp.take(getattr(of, name)[:, 0], token_BP, axis=1) for name in _KEYS if getattr(of, name) is not None
    }
    return new_cache(LayerStates(**laid), first_B, places - count)
