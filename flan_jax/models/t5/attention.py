"""Attention as T5 has it: no scaling, relative position buckets, a bias of each.

Shapes: B rows of a batch, T query length, S key length, D model width, H heads, K width of one head,
M = H * K, C buckets.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from flan_jax.models.ops.activation_sharding import place_rows
from flan_jax.models.ops.attention import dot_product_attention
from flan_jax.models.ops.attention_impl import select_impl
from flan_jax.models.ops.attention_mask import AttentionMask
from flan_jax.models.ops.attention_passes import AttentionOptions
from flan_jax.models.ops.dropout import dropout, split_key
from flan_jax.models.ops.initializers import normal
from flan_jax.models.ops.linear import linear, to_heads
from flan_jax.models.ops.typing import AnyArray, Key
from flan_jax.models.t5.config import T5Config
from flan_jax.models.t5.layers import RMSNorm


def distance_buckets(num_buckets: int, max_distance: int) -> np.ndarray:
    """Maps every distance 0 … ``max_distance`` in one direction to its bucket, int32 ``[max_distance + 1]``.

    The first half of the buckets are exact distances, the others grow logarithmically up to
    ``max_distance``; all that is farther shares the last (Raffel et al. 2020, section 2.1). Distances are
    few, so this is a table made once; float32 as in the reference implementations, whose rounding at the
    edge of a bucket is part of the trained weights.

    >>> distance_buckets(4, 8).tolist()
    [0, 1, 2, 2, 3, 3, 3, 3, 3]
    """
    exact = num_buckets // 2
    distance = np.arange(max_distance + 1)
    ratio = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact))
    scaled = ratio / np.float32(math.log(max_distance / exact)) * np.float32(num_buckets - exact)
    far = np.minimum(exact + scaled.astype(np.int32), num_buckets - 1)
    return np.where(distance < exact, distance, far).astype(np.int32)


def preferred_buckets(buckets: int, heads: int, *, bidirectional: bool) -> np.ndarray:
    """Marks the bucket that each head prefers under ``config.relative_bias_init``, a float32 table of 0 and 1 ``[C, H]``.

    The first half of the heads look back by 1, 2, 3 …; the second half look ahead by as much where the
    stack reads both ways, and prefer nothing where it does not. A step of an optimiser moves a bias little,
    so heads that start without a preference take long to find one: with these, what stands next to a token
    or three tokens before it can be read from the first step.

    >>> preferred_buckets(8, 4, bidirectional=True).argmax(axis=0).tolist()  # back 1, 1 (only 1 is exact), ahead 1, 1
    [1, 1, 5, 5]
    """
    table = np.zeros((buckets, heads), np.float32)
    one_way = buckets // (2 if bidirectional else 1)
    exact = one_way // 2  # distances below this have a bucket of their own
    for head in range(heads):
        ahead, rank = divmod(head, (heads + 1) // 2)
        if exact > 1 and (bidirectional or not ahead):
            table[ahead * one_way + 1 + rank % (exact - 1), head] = 1.0
    return table


class RelativeBias(nnx.Module):
    """Relative position bias: a learned number for each head and bucket, shared by all layers of a stack."""

    def __init__(self, config: T5Config, *, bidirectional: bool, rngs: nnx.Rngs) -> None:
        buckets, heads = config.relative_attention_num_buckets, config.num_heads
        self.table = normal(rngs, (buckets, heads), config.initializer_factor * config.d_model**-0.5)
        if config.relative_bias_init:
            peaks = preferred_buckets(buckets, heads, bidirectional=bidirectional)
            self.table[...] += config.relative_bias_init * jnp.asarray(peaks)
        self.max_distance = config.relative_attention_max_distance
        self.bidirectional = bidirectional

    def values(self, offset: Int[AnyArray, "*shape"]) -> Float[Array, "*shape H"]:
        """Looks up the bias at each ``offset`` (key position minus query position)."""
        buckets = self.table.shape[0] // (2 if self.bidirectional else 1)
        table = jnp.asarray(distance_buckets(buckets, self.max_distance))
        distance = jnp.abs(offset) if self.bidirectional else jnp.maximum(-offset, 0)
        bucket = table[jnp.minimum(distance, self.max_distance)]
        if self.bidirectional:
            bucket += jnp.where(offset > 0, buckets, 0)
        return self.table[...][bucket]

    def square(self, length: int, groups: int = 1) -> Float[Array, "P H T T"]:
        """Computes the bias between all positions of a row, from index differences; the same for each of ``groups``.

        Within a segment the difference of two positions is the difference of their indices, and between
        segments the mask hides the value: packed rows need neither positions nor a bias for each row.

        Only ``2 * length - 1`` offsets occur, so their values are looked up once and laid out by
        reshaping: a ring with offset j at place j (negative ones at the end) is repeated and cut one
        place shorter than its size, which turns each line by one. For length 2, ring ``[0, 1, x, -1]``::

            0 1 x -1 0 1 x -1  →  0 1 x        →  0 1
                                  -1 0 1          -1 0

        The gradient then is a sum over a reshaped array rather than a scatter of length² updates.

        With a group for each part that rows are split into, a device adds up the gradient of its own rows, and what is
        added over devices is as small as the ring. With one group all devices' squares were added in every layer.
        """
        ring = jnp.arange(2 * length)
        values_HR = self.values(jnp.where(ring < length, ring, ring - 2 * length)).T
        values_PHR = values_HR[None]
        if groups > 1:
            values_PHR = place_rows(jnp.broadcast_to(values_PHR, (groups, *values_HR.shape)))
        lines_PHN = jnp.tile(values_PHR, (1, 1, length))[..., : length * (2 * length - 1)]
        return lines_PHN.reshape(*values_PHR.shape[:2], length, 2 * length - 1)[..., :length]

    def between(self, query_BT: Int[AnyArray, "B T"], key_BS: Int[AnyArray, "B S"]) -> Float[Array, "B H T S"]:
        """Computes the bias between given positions."""
        return self.values(key_BS[:, None, :] - query_BT[:, :, None]).transpose(0, 3, 1, 2)


class Attention(nnx.Module):
    """Multi-head attention without scaling of the scores, and the norm before it.

    The head projections are matrices ``[D, H * K]`` with the heads side by side: one large product each,
    and a shape that factored optimisers and low-rank adapters see as the matrix it is.
    """

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs) -> None:
        d_model, d_heads, factor = config.d_model, config.d_heads, config.initializer_factor
        self.config = config
        self.norm = RMSNorm(config)
        # The queries start small because the scores are not scaled: this is where 1 / sqrt(d_kv) went.
        self.q = normal(rngs, (d_model, d_heads), factor * (d_model * config.d_kv) ** -0.5)
        self.k = normal(rngs, (d_model, d_heads), factor * d_model**-0.5)
        self.v = normal(rngs, (d_model, d_heads), factor * d_model**-0.5)
        self.o = normal(rngs, (d_heads, d_model), factor * d_heads**-0.5)
        if config.mimetic_init:
            # A correlated share and an independent one, so that every standard deviation stays what it was.
            shared = config.mimetic_init
            own = (1.0 - shared**2) ** 0.5
            self.q[...] = own * self.q[...] + shared * config.d_kv**-0.5 * self.k[...]
            self.o[...] = own * self.o[...] + shared * (d_model / d_heads) ** 0.5 * self.v[...].T

    def queries(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B H T K"]:
        """Projects to queries of all heads."""
        return to_heads(x_BTD, self.q, self.config.num_heads)

    def keys_values(self, x_BSD: Float[Array, "B S D"]) -> tuple[Float[Array, "B H S K"], Float[Array, "B H S K"]]:
        """Projects to keys and values of all heads."""
        heads = self.config.num_heads
        return to_heads(x_BSD, self.k, heads), to_heads(x_BSD, self.v, heads)

    def attend(
        self,
        q_BHTK: Float[Array, "B H T K"],
        k_BHSK: Float[Array, "B H S K"],
        v_BHSK: Float[Array, "B H S K"],
        bias: Float[Array, "P H T S"] | None,
        mask: AttentionMask,
        key: Key | None = None,
    ) -> Float[Array, "B T D"]:
        """Computes the layer's addition to the residual stream.

        Args:
            bias: float32 position bias, for all rows, for each or for groups of them; ``None`` in cross-attention.
            mask: which keys each query attends to.
            key: for dropout.
        """
        weight_key, outer_key = split_key(key, 2)
        rate = self.config.dropout_rate
        rows, heads, queries, _ = q_BHTK.shape
        impl = select_impl(
            self.config.attention, rows=rows, heads=heads, queries=queries, keys=k_BHSK.shape[2],
            cudnn_refuses="T5 has a learned bias", aligned=False,
        )  # fmt: skip
        options = AttentionOptions(query_chunk=impl.query_chunk, batch_chunk=impl.batch_chunk)
        mixed_BTM = dot_product_attention(q_BHTK, k_BHSK, _drop_keys(v_BHSK, rate, weight_key), bias, mask, options)
        return dropout(linear(mixed_BTM, self.o), rate, outer_key)


def _drop_keys(v_BHSK: Float[Array, "B H S K"], rate: float, key: Key | None) -> Float[Array, "B H S K"]:
    """Applies dropout to attention weights.

    T5 drops a key of a head for all queries at once, so dropping its value is the same and far smaller.
    """
    if key is None or rate == 0.0:
        return v_BHSK
    keep_BHS1 = jax.random.bernoulli(key, 1.0 - rate, (*v_BHSK.shape[:3], 1))
    return v_BHSK * (keep_BHS1 / (1.0 - rate)).astype(v_BHSK.dtype)
