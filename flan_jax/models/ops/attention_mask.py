"""Who sees whom in attention, told by ids rather than by an array of all pairs.

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
    """What a query may look at; ``visible`` has the picture.

    Attributes:
        query: segment ids of the queries; a query sees the keys of its own segment.
        key: segment ids of the keys; 0 is padding, and is seen by nobody.
        place: of each query among the keys; read where ``causal`` says so.
        window: an int32 scalar: of how many keys, itself included, a query sees the last; ``None`` for all.
        query_prefix, key_prefix: true where tokens of a segment see each other in both directions; ``None``
            for nowhere.
        causal: a query sees no key behind its place.
        aligned: query i stands at key i, so that blocks of queries see no key behind the block's end.
    """

    query: Int[AnyArray, "B T"]
    key: Int[AnyArray, "B S"]
    place: Int[AnyArray, "T"]
    window: Int[Array, ""] | None = None
    query_prefix: Bool[Array, "B T"] | None = None
    key_prefix: Bool[Array, "B S"] | None = None
    causal: bool = dataclasses.field(default=False, metadata={"static": True})
    aligned: bool = dataclasses.field(default=False, metadata={"static": True})

    def asked_by(
        self, query_BT: Int[Array, "B t"], place_T: Int[Array, "t"], prefix_BT: Bool[Array, "B t"] | None
    ) -> "AttentionMask":
        """The same keys, seen by other queries."""
        return dataclasses.replace(self, query=query_BT, place=place_T, query_prefix=prefix_BT)

    def queries(self, start: int, stop: int) -> "AttentionMask":
        """Of some of the queries."""
        prefix_BT = None if self.query_prefix is None else self.query_prefix[:, start:stop]
        return dataclasses.replace(
            self, query=self.query[:, start:stop], place=self.place[start:stop], query_prefix=prefix_BT
        )

    def keys(self, stop: int) -> "AttentionMask":
        """Of the first keys."""
        prefix_BS = None if self.key_prefix is None else self.key_prefix[:, :stop]
        return dataclasses.replace(self, key=self.key[:, :stop], key_prefix=prefix_BS)

    def visible(self) -> Bool[Array, "B T S"]:
        """Where a query sees a key.

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
        """
        query_BT, key_BS = jnp.asarray(self.query), jnp.asarray(self.key)
        seen_BTS = (query_BT[:, :, None] == key_BS[:, None, :]) & (key_BS > 0)[:, None, :]
        if not self.causal:
            return seen_BTS
        behind_TS = jnp.asarray(self.place)[:, None] - jnp.arange(key_BS.shape[1])[None]
        back_BTS = (behind_TS >= 0)[None]
        if self.query_prefix is not None and self.key_prefix is not None:
            back_BTS = back_BTS | (self.query_prefix[:, :, None] & self.key_prefix[:, None, :])
        if self.window is not None:
            back_BTS = back_BTS & (jnp.abs(behind_TS) < self.window)
        return seen_BTS & back_BTS


def segment_mask(
    query_BT: Int[AnyArray, "B T"], key_BS: Int[AnyArray, "B S"], *, causal: bool = False
) -> AttentionMask:
    """A query sees the keys of its own segment; with ``causal`` only those up to its own index."""
    same = query_BT.shape[1] == key_BS.shape[1]
    return AttentionMask(query_BT, key_BS, jnp.arange(query_BT.shape[1]), causal=causal, aligned=causal and same)
