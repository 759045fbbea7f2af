"""Attention masks, held as segment ids rather than as an array of all query-key pairs.

Shapes: B rows of a batch, T query length, S key length.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from flan_jax.models.ops.typing import AnyArray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AttentionMask:
    """The keys that each query attends to; ``materialize`` makes the boolean array and shows examples.

    Attributes:
        query: segment ids of the queries; a query attends to keys of its own segment.
        key: segment ids of the keys; 0 is padding, which is masked for all queries.
        query_index: each query's index among the keys; used with ``causal``.
        window: int32 scalar, the number of most recent keys, its own included, that a query attends to; ``None``
            for all.
        ahead: int32 scalar, the same of keys that come, its own included; of masks with a window and without an order.
        query_prefix, key_prefix: true for tokens of a bidirectional prefix; ``None`` without prefixes.
        unordered: true for keys that stand in no order with the queries, such as those of encoded inputs behind the
            decoder's own: neither order nor window hides them; ``None`` where there are none.
        causal: masks keys behind the query's index.
        aligned: query i is key i, so that blocks of queries need no key behind the block's end.
    """

    query: Int[AnyArray, "B T"]
    key: Int[AnyArray, "B S"]
    query_index: Int[AnyArray, "T"]
    window: Int[Array, ""] | None = None
    ahead: Int[Array, ""] | None = None
    query_prefix: Bool[Array, "B T"] | None = None
    key_prefix: Bool[Array, "B S"] | None = None
    unordered: Bool[Array, "S"] | None = None
    causal: bool = dataclasses.field(default=False, metadata={"static": True})
    aligned: bool = dataclasses.field(default=False, metadata={"static": True})

    def with_queries(
        self, query_BT: Int[Array, "B t"], index_T: Int[Array, "t"], prefix_BT: Bool[Array, "B t"] | None
    ) -> "AttentionMask":
        """Replaces the queries; the keys stay."""
        return dataclasses.replace(self, query=query_BT, query_index=index_T, query_prefix=prefix_BT)

    def slice_queries(self, start: int, stop: int) -> "AttentionMask":
        """Restricts the mask to queries ``start`` to ``stop``."""
        prefix_BT = None if self.query_prefix is None else self.query_prefix[:, start:stop]
        return dataclasses.replace(
            self, query=self.query[:, start:stop], query_index=self.query_index[start:stop], query_prefix=prefix_BT
        )

    def first_keys(self, stop: int) -> "AttentionMask":
        """Restricts the mask to the first ``stop`` keys."""
        prefix_BS = None if self.key_prefix is None else self.key_prefix[:, :stop]
        unordered_S = None if self.unordered is None else self.unordered[:stop]
        return dataclasses.replace(self, key=self.key[:, :stop], key_prefix=prefix_BS, unordered=unordered_S)

    def materialize(self) -> Bool[Array, "B T S"]:
        """Returns the boolean mask, true where a query attends to a key.

        For segment ids ``[1, 1, 2, 0]`` and ``causal=True`` the visible places (x) are::

            query 0 (1)  x . . .
            query 1 (1)  x x . .
            query 2 (2)  . . x .
            query 3 (0)  . . . .

        A window of 2 over segment ids ``[1, 1, 1, 2, 0]`` leaves the places (x), and a prefix of the first two
        tokens adds the place (p)::

            query 0 (1)  x p . . .
            query 1 (1)  x x . . .
            query 2 (1)  . x x . .
            query 3 (2)  . . . x .
            query 4 (0)  . . . . .

        Without an order, a window of 2 and one of 3 keys ahead over ``[1, 1, 1, 1]`` leave::

            query 0 (1)  x x x .
            query 1 (1)  x x x x
            query 2 (1)  . x x x
            query 3 (1)  . . x x
        """
        query_BT, key_BS = jnp.asarray(self.query), jnp.asarray(self.key)
        same_BTS = (query_BT[:, :, None] == key_BS[:, None, :]) & (key_BS > 0)[:, None, :]
        if not self.causal and self.ahead is None:
            return same_BTS
        distance_TS = jnp.asarray(self.query_index)[:, None] - jnp.arange(key_BS.shape[1])[None]
        allowed_BTS = (distance_TS >= 0 if self.ahead is None or self.causal else -distance_TS < self.ahead)[None]
        if self.query_prefix is not None and self.key_prefix is not None:
            allowed_BTS = allowed_BTS | (self.query_prefix[:, :, None] & self.key_prefix[:, None, :])
        if self.window is not None:
            back_TS = jnp.abs(distance_TS) if self.causal else distance_TS
            allowed_BTS = allowed_BTS & (back_TS < self.window)
        if self.unordered is not None:
            allowed_BTS = allowed_BTS | self.unordered[None, None]
        return same_BTS & allowed_BTS


def segment_mask(
    query_BT: Int[AnyArray, "B T"], key_BS: Int[AnyArray, "B S"], *, causal: bool = False
) -> AttentionMask:
    """Builds a mask within segments; with ``causal`` a query attends to no key behind its own index."""
    same = query_BT.shape[1] == key_BS.shape[1]
    return AttentionMask(query_BT, key_BS, jnp.arange(query_BT.shape[1]), causal=causal, aligned=causal and same)


def length_segments(lengths_B: Int[AnyArray, "B"], length: int) -> Int[Array, "B S"]:
    """Returns segment ids of rows that hold one example each: 1 up to its length, 0 behind.

    They follow from lengths and not from the padding id, which may also be a token like any other.
    """
    return (jnp.arange(length) < jnp.asarray(lengths_B)[:, None]).astype(jnp.int32)
