"""Dot-product attention with a custom backward pass: saved exponentials, recomputation, batch and query chunks.

Automatic differentiation of a softmax divides every weight by its row's sum and reads both again. Here
the unnormalized exponentials are saved, and all division happens on arrays without a key axis. With
e = exp(score - max), l its sum over the keys and o = (e v) / l, the gradient g of o gives, as
d softmax = p * (g·v - delta) for p = e / l and delta = g·o::

    g' = g / l,   dv = eᵀ g',   dscore = e * (g' vᵀ - delta / l)

which makes attention in a training step twice as fast on a CPU and saves one array of weights a layer
on every device.

With chunks, of the batch or of the queries, the backward pass recomputes the exponentials (as FlashAttention does; Dao et
al. 2022, arXiv:2205.14135): a chunk of the batch fits into a CPU's cache, and chunks of queries spare long rows an
array of all query-key pairs.

Shapes: B rows of a batch, H query heads, G key heads, R = H / G, T query length, S key length, K width of one
head, M = H * K, N = R * T queries of one key head.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from flan_jax.models.ops.attention_mask import AttentionMask
from flan_jax.models.ops.attention_passes import (
    DEFAULT_OPTIONS,
    AttentionOptions,
    query_chunked_backward,
    query_chunked_forward,
    recompute_backward,
    recompute_forward,
    saved_backward,
    saved_forward,
)

CAUSAL_BLOCKS = 4
"""Number of query blocks of a causal row, each computed with the keys up to its end: 5/8 of the work of the square.

Twice as many with batch chunks (9/16), which do not wait for memory: the step of a decoder of 100 million parameters
with 1,024 tokens a row took 10.9 s with four and 10.5 s with eight."""
CAUSAL_LENGTH = 64
"""Smallest number of queries in a causal block; rows too short for `CAUSAL_BLOCKS` of them are computed whole."""


def dot_product_attention(
    q_BHTK: Float[Array, "B H T K"],
    k_BGSK: Float[Array, "B G S K"],
    v_BGSK: Float[Array, "B G S K"],
    bias: Float[Array, "P H T S"] | None,
    mask: AttentionMask,
    options: AttentionOptions = DEFAULT_OPTIONS,
) -> Float[Array, "B T M"]:
    """Computes ``softmax(scale * q kᵀ + bias) v`` for every head over the unmasked keys; heads are concatenated.

    Products are in the type of ``q`` and summed in float32; the softmax is float32. A query without an unmasked key
    gets zeros.

    Args:
        q_BHTK: queries.
        k_BGSK: keys, each head shared by H / G query heads.
        v_BGSK: values.
        bias: learned bias of the scores, one for all rows, one for each, or, without batch chunks, one for each of P
            groups of consecutive rows; ``None`` for none.
        mask: which keys each query sees.
        options: scale, softcap and chunks.
    """
    (rows, heads, length, width), groups = q_BHTK.shape, k_BGSK.shape[1]
    q = q_BHTK.reshape(rows, groups, heads // groups, length, width)
    return _attention(options, q, k_BGSK, v_BGSK, bias, mask)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(
    options: AttentionOptions, q: Array, k: Array, v: Array, bias: Array | None, mask: AttentionMask
) -> Array:
    return _forward(options, q, k, v, bias, mask)[0]


def _forward(options: AttentionOptions, q: Array, k: Array, v: Array, bias: Array | None, mask: AttentionMask) -> Any:
    blocks = _causal_blocks(options, mask, q.shape[3], k.shape[2])
    visible = [_visible(options, mask, block) for block in blocks]
    if options.batch_chunk is None:
        o_BTM, saved = _blocks_forward(options, blocks, q, k, v, bias, visible)
    else:
        each, shared = _split_bias(bias)

        def one(nothing: None, chunk: Any) -> tuple[None, Any]:
            q, k, v, bias_of_rows, visible = chunk
            return nothing, _blocks_forward(
                options, blocks, q, k, v, shared if bias_of_rows is None else bias_of_rows, visible
            )

        _, (o, saved) = jax.lax.scan(one, None, _batch_chunks(options, (q, k, v, each, visible)))
        o_BTM = o.reshape(-1, *o.shape[2:])
    return o_BTM, (q, k, v, bias, mask, o_BTM, saved)


def _backward(options: AttentionOptions, residuals: Any, g_BTM: Array) -> Any:
    q, k, v, bias, mask, o_BTM, saved = residuals
    blocks = _causal_blocks(options, mask, q.shape[3], k.shape[2])
    visible = [_visible(options, mask, block) for block in blocks]
    if options.batch_chunk is None:
        return *_blocks_backward(options, blocks, q, k, v, bias, visible, o_BTM, g_BTM, saved), None
    each, shared = _split_bias(bias)

    def one(total: Array | None, chunk: Any) -> tuple[Array | None, Any]:
        (q, k, v, bias_of_rows, visible, o_BTM, g_BTM), saved = chunk
        bias = shared if bias_of_rows is None else bias_of_rows
        *gradients, part = _blocks_backward(options, blocks, q, k, v, bias, visible, o_BTM, g_BTM, saved)
        if total is None or part is None:
            return total, (*gradients, part)
        return total + part, (*gradients, None)

    zeros = None if shared is None else jnp.zeros(shared.shape, jnp.float32)
    total, gradients = jax.lax.scan(one, zeros, (_batch_chunks(options, (q, k, v, each, visible, o_BTM, g_BTM)), saved))
    dq, dk, dv, dbias = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), gradients)
    return dq, dk, dv, dbias if total is None else total, None


_attention.defvjp(_forward, _backward)


def _batch_chunks(options: AttentionOptions, arrays: Any) -> Any:
    """Splits the batch axis into chunks on a leading axis."""
    return jax.tree.map(lambda x: x.reshape(-1, options.batch_chunk, *x.shape[1:]), arrays)


def _split_bias(bias: Array | None) -> tuple[Array | None, Array | None]:
    """Returns the bias as (one for each row, one for all rows), of which one is ``None``."""
    return (None, bias) if bias is None or bias.shape[0] == 1 else (bias, None)


# --- causal blocks ---------------------------------------------------------------------------------------------------


class _CausalBlock(NamedTuple):
    """Consecutive queries, computed with the first ``keys`` keys: causality masks the others for all of them."""

    start: int
    stop: int
    keys: int

    def slices(self, q: Array, k: Array, v: Array, bias: Array | None) -> tuple[Array, Array, Array, Array | None]:
        part = None if bias is None else bias[:, :, self.start : self.stop, : self.keys]
        return q[:, :, :, self.start : self.stop], k[:, :, : self.keys], v[:, :, : self.keys], part


def _causal_blocks(options: AttentionOptions, mask: AttentionMask, queries: int, keys: int) -> list[_CausalBlock]:
    count = min(CAUSAL_BLOCKS * (1 if options.batch_chunk is None else 2), queries // CAUSAL_LENGTH)
    if not mask.aligned or mask.query_prefix is not None or count < CAUSAL_BLOCKS:
        return [_CausalBlock(0, queries, keys)]
    ends = [queries * (i + 1) // count for i in range(count)]
    return [_CausalBlock(start, end, end) for start, end in zip([0, *ends], ends, strict=False)]


def _visible(options: AttentionOptions, mask: AttentionMask, block: _CausalBlock) -> Array | AttentionMask:
    """Returns the block's materialized mask; for query chunks the mask itself, which each chunk materializes.

    Batch chunks read it from an array made before their loop: inside the loop XLA would compare the ids of every pair
    once for each head, among the exponentials, which takes four times as long as reading the result.
    """
    part = mask.slice_queries(block.start, block.stop).first_keys(block.keys)
    return part.materialize() if options.query_chunk is None else part


def _blocks_forward(
    options: AttentionOptions,
    blocks: Sequence[_CausalBlock],
    q: Array,
    k: Array,
    v: Array,
    bias: Array | None,
    visible: Sequence[Any],
) -> tuple[Array, Any]:
    """Returns the output ``[B, T, M]`` and what each block saves for the backward pass."""
    forward: Callable[..., Any] = recompute_forward if options.query_chunk is None else query_chunked_forward
    forward = saved_forward if options.saves_exponentials else forward
    results = [
        forward(options, *block.slices(q, k, v, bias), block_mask)
        for block, block_mask in zip(blocks, visible, strict=True)
    ]
    o, saved = zip(*results, strict=True)
    return jnp.moveaxis(_concatenated(o, 3), 3, 1).reshape(q.shape[0], q.shape[3], -1), saved


def _blocks_backward(
    options: AttentionOptions,
    blocks: Sequence[_CausalBlock],
    q: Array,
    k: Array,
    v: Array,
    bias: Array | None,
    visible: Sequence[Any],
    o_BTM: Array,
    g_BTM: Array,
    saved: Sequence[Any],
) -> tuple[Array, Array, Array, Array | None]:
    """Returns the gradients of ``q``, ``k``, ``v`` and ``bias``."""
    backward: Callable[..., Any] = recompute_backward if options.query_chunk is None else query_chunked_backward
    backward = saved_backward if options.saves_exponentials else backward

    def by_head(x_BTM: Array) -> Array:
        return x_BTM.reshape(q.shape[0], q.shape[3], *q.shape[1:3], -1)

    delta = jnp.sum(by_head(g_BTM).astype(jnp.float32) * by_head(o_BTM).astype(jnp.float32), axis=-1, keepdims=True)
    g, delta = (jnp.moveaxis(x, 1, 3) for x in (by_head(g_BTM), delta))
    dq, dbias = [], []
    dk, dv = (jnp.zeros(x.shape, jnp.float32) for x in (k, v))
    for block, block_saved, block_mask in zip(blocks, saved, visible, strict=True):
        g_block, delta_block = (x[:, :, :, block.start : block.stop] for x in (g, delta))
        operands = (*block.slices(q, k, v, bias), block_mask)
        dq_block, dk_block, dv_block, dbias_block = backward(options, operands, block_saved, g_block, delta_block)
        dq.append(dq_block.astype(q.dtype))
        dk, dv = (total.at[:, :, : block.keys].add(part) for total, part in ((dk, dk_block), (dv, dv_block)))
        if dbias_block is not None:
            masked_keys = k.shape[2] - block.keys
            dbias.append(jnp.pad(dbias_block, ((0, 0), (0, 0), (0, 0), (0, masked_keys))))
    return _concatenated(dq, 3), dk.astype(k.dtype), dv.astype(v.dtype), _concatenated(dbias, 2) if dbias else None


def _concatenated(parts: Sequence[Array], axis: int) -> Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=axis)
