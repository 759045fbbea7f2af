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

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from flan_jax.models.ops.attention_mask import AttentionMask

MASKED = -1e9
"""The score of a masked key: far below any score, and far from overflow."""

CAUSAL_BLOCKS = 4
"""Number of query blocks of a causal row, each computed with the keys up to its end: 5/8 of the work of the square.

Twice as many with batch chunks (9/16), which do not wait for memory: the step of a decoder of 100 million parameters
with 1,024 tokens a row took 10.9 s with four and 10.5 s with eight."""
CAUSAL_LENGTH = 64
"""Smallest number of queries in a causal block; rows too short for `CAUSAL_BLOCKS` of them are computed whole."""


@dataclasses.dataclass(frozen=True)
class AttentionOptions:
    """Options of dot-product attention. Hashable.

    Attributes:
        scale: multiplies the scores.
        softcap: scores become ``softcap * tanh(score / softcap)``; ``None`` leaves them.
        query_chunk: queries computed at a time; ``None`` for all.
        batch_chunk: rows of the batch computed at a time, a divisor of B; ``None`` for all, as beside ``query_chunk``.
    """

    scale: float = 1.0
    softcap: float | None = None
    query_chunk: int | None = None
    batch_chunk: int | None = None

    @property
    def saves_exponentials(self) -> bool:
        """Whether the backward pass uses saved exponentials of all scores.

        Chunks recompute theirs, and so does a softcap, whose gradient needs the scores.
        """
        return self.query_chunk is None and self.batch_chunk is None and self.softcap is None


def dot_product_attention(
    q_BHTK: Float[Array, "B H T K"],
    k_BGSK: Float[Array, "B G S K"],
    v_BGSK: Float[Array, "B G S K"],
    bias: Float[Array, "#B H T S"] | None,
    mask: AttentionMask,
    options: AttentionOptions = AttentionOptions(),
) -> Float[Array, "B T M"]:
    """Computes ``softmax(scale * q kᵀ + bias) v`` for every head over the unmasked keys; heads are concatenated.

    Products are in the type of ``q`` and summed in float32; the softmax is float32. A query without an unmasked key
    gets zeros.

    Args:
        q_BHTK: queries.
        k_BGSK: keys, each head shared by H / G query heads.
        v_BGSK: values.
        bias: learned bias of the scores, one for all rows or one for each; ``None`` for none.
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
    forward: Callable[..., Any] = _recompute_forward if options.query_chunk is None else _query_chunked_forward
    forward = _saved_forward if options.saves_exponentials else forward
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
    backward: Callable[..., Any] = _recompute_backward if options.query_chunk is None else _query_chunked_backward
    backward = _saved_backward if options.saves_exponentials else backward

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


def _scores(
    options: AttentionOptions, q: Array, k: Array, bias: Array | None, visible: Array
) -> tuple[Array, Array | None]:
    """Returns float32 scores ``[B, G, N, S]`` before the softmax, and the softcap's slope at each (``None`` without a cap)."""
    raw = jnp.einsum("BGNK,BGSK->BGNS", _merge_groups(q), k, preferred_element_type=jnp.float32)
    scores, slope = raw if options.scale == 1.0 else raw * options.scale, None
    if options.softcap is not None:
        tanh = jnp.tanh(scores / options.softcap)
        scores, slope = options.softcap * tanh, 1.0 - jnp.square(tanh)
    # The biases are added one by one: their sum would be as large as the scores and be read in every layer.
    split = scores.reshape(*q.shape[:4], k.shape[2])
    if bias is not None:
        split += bias.reshape(bias.shape[0], *q.shape[1:4], k.shape[2])
    split = jnp.where(visible[:, None, None], split, MASKED)
    return split.reshape(raw.shape), slope


def _merge_groups(x: Array) -> Array:
    """Reshapes ``[B, G, R, T, …]`` to ``[B, G, R * T, …]``: all queries of a key head are the rows of one product."""
    return x.reshape(*x.shape[:2], -1, *x.shape[4:])


def _query_gradient(options: AttentionOptions, dscores: Array, k: Array) -> Array:
    dq = jnp.einsum("BGNS,BGSK->BGNK", dscores, k, preferred_element_type=jnp.float32)
    return dq if options.scale == 1.0 else dq * options.scale


def _key_gradient(weights: Array, x: Array) -> Float[Array, "B G S K"]:
    """Computes ``weightsᵀ x`` in float32, in the order of operands that spares the CPU a transposition of the large one."""
    return jnp.einsum("BGNK,BGNS->BGKS", x, weights, preferred_element_type=jnp.float32).swapaxes(2, 3)


def _bias_gradient(dscores: Array, bias: Array) -> Array:
    """Sums the scores' gradients over the rows that share a bias.

    As a product with ones: XLA's sum over a leading axis runs element by element on a CPU, some thirty
    times slower. In full precision also where the default for products is lower.
    """
    dscores = dscores.reshape(-1, *bias.shape[1:])
    if bias.shape[0] == dscores.shape[0]:
        return dscores
    ones_B = jnp.ones(dscores.shape[0], jnp.float32)
    return jnp.einsum("B,BHTS->HTS", ones_B, dscores, precision=jax.lax.Precision.HIGHEST)[None]


# --- with saved exponentials -----------------------------------------------------------------------------------------


def _saved_forward(options: AttentionOptions, q: Array, k: Array, v: Array, bias: Array | None, visible: Array) -> Any:
    scores, _ = _scores(options, q, k, bias, visible)
    largest = jnp.max(scores, axis=-1, keepdims=True)
    e = jnp.exp(scores - largest)
    # Without a visible key (a packed example without inputs, in cross-attention) the weights would be equal over the
    # whole row, neighbours included.
    inverse = jnp.where(largest > MASKED / 2, 1.0 / jnp.sum(e, axis=-1, keepdims=True), 0.0)
    e = e.astype(q.dtype)
    o = jnp.einsum("BGNS,BGSK->BGNK", e, v, preferred_element_type=jnp.float32)
    return (o * inverse).astype(q.dtype).reshape(q.shape), (e, inverse)


def _saved_backward(
    options: AttentionOptions, operands: Any, saved: tuple[Array, Array], g: Array, delta: Array
) -> Any:
    (q, k, v, bias, _), (e, inverse) = operands, saved
    g = (_merge_groups(g).astype(jnp.float32) * inverse).astype(q.dtype)
    of_weights = jnp.einsum("BGNK,BGSK->BGNS", g, v, preferred_element_type=jnp.float32)
    dscores = e * (of_weights - _merge_groups(delta) * inverse)
    dbias = None if bias is None else _bias_gradient(dscores, bias)
    dscores = dscores.astype(q.dtype)
    dq = _query_gradient(options, dscores, k).reshape(q.shape)
    return dq, options.scale * _key_gradient(dscores, _merge_groups(q)), _key_gradient(e, g), dbias


# --- with recomputed exponentials ------------------------------------------------------------------------------------


def _recompute_forward(
    options: AttentionOptions, q: Array, k: Array, v: Array, bias: Array | None, visible: Array
) -> Any:
    scores, _ = _scores(options, q, k, bias, visible)
    largest = jnp.max(scores, axis=-1, keepdims=True)
    e = jnp.exp(scores - largest)
    total = jnp.sum(e, axis=-1, keepdims=True)
    has_key = largest > MASKED / 2
    o = jnp.einsum("BGNS,BGSK->BGNK", e.astype(q.dtype), v, preferred_element_type=jnp.float32)
    o = (o * jnp.where(has_key, 1.0 / total, 0.0)).astype(q.dtype).reshape(q.shape)
    # Far above any score, so that all weights of a query without a visible key are 0 in the backward pass too.
    return o, jnp.where(has_key, largest + jnp.log(total), -MASKED).reshape(*q.shape[:4], 1)


def _recompute_backward(options: AttentionOptions, operands: Any, log_total: Array, g: Array, delta: Array) -> Any:
    q, k, v, bias, visible = operands
    scores, slope = _scores(options, q, k, bias, visible)
    weights = jnp.exp(scores - _merge_groups(log_total))
    dscores = weights * (
        jnp.einsum("BGNK,BGSK->BGNS", _merge_groups(g), v, preferred_element_type=jnp.float32) - _merge_groups(delta)
    )
    dbias = None if bias is None else _bias_gradient(dscores, bias)
    dscores = (dscores if slope is None else dscores * slope).astype(q.dtype)
    dk, dv = (
        options.scale * _key_gradient(dscores, _merge_groups(q)),
        _key_gradient(weights.astype(q.dtype), _merge_groups(g)),
    )
    return _query_gradient(options, dscores, k).reshape(q.shape), dk, dv, dbias


# --- in chunks of queries --------------------------------------------------------------------------------------------


def _query_chunked_forward(
    options: AttentionOptions, q: Array, k: Array, v: Array, bias: Array | None, mask: AttentionMask
) -> Any:
    def one(nothing: None, chunk: Any) -> tuple[None, tuple[Array, Array]]:
        q, bias, query_mask = chunk
        return nothing, _recompute_forward(options, q, k, v, bias, mask.with_queries(*query_mask).materialize())

    _, (o, log_total) = jax.lax.scan(one, None, _query_chunks(options, q, bias, mask))
    return _unchunked(o, q.shape[3]), _unchunked(log_total, q.shape[3])


def _query_chunked_backward(options: AttentionOptions, operands: Any, log_total: Array, g: Array, delta: Array) -> Any:
    q, k, v, bias, mask = operands

    def one(sums: tuple[Array, Array], chunk: Any) -> tuple[tuple[Array, Array], tuple[Array, Array | None]]:
        (q, bias, query_mask), *beside = chunk
        operands = (q, k, v, bias, mask.with_queries(*query_mask).materialize())
        dq, dk, dv, dbias = _recompute_backward(options, operands, beside[2], *beside[:2])
        return (sums[0] + dk, sums[1] + dv), (dq, dbias)

    beside = [_chunked(x, options.query_chunk or q.shape[3], 3) for x in (g, delta, log_total)]
    zeros = (jnp.zeros(k.shape, jnp.float32), jnp.zeros(v.shape, jnp.float32))
    (dk, dv), (dq, dbias) = jax.lax.scan(one, zeros, (_query_chunks(options, q, bias, mask), *beside))
    return _unchunked(dq, q.shape[3]), dk, dv, None if dbias is None else _unchunked(dbias, q.shape[3], 2)


def _query_chunks(
    options: AttentionOptions, q: Array, bias: Array | None, mask: AttentionMask
) -> tuple[Array, Array | None, Any]:
    """Splits queries, bias and the queries' side of the mask into chunks on a leading axis."""
    length = options.query_chunk or q.shape[3]
    bias_chunks = None if bias is None else _chunked(bias, length, 2)
    prefix = None if mask.query_prefix is None else _chunked(mask.query_prefix, length, 1)
    query_mask = (
        _chunked(jnp.asarray(mask.query), length, 1),
        _chunked(jnp.asarray(mask.query_index), length, 0),
        prefix,
    )
    return _chunked(q, length, 3), bias_chunks, query_mask


def _chunked(x: Array, length: int, axis: int) -> Array:
    """Splits an axis into chunks on a leading one; zeros (segment 0, masked everywhere) pad the last."""
    count = -(-x.shape[axis] // length)
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, count * length - x.shape[axis])
    x = jnp.pad(x, widths)
    return jnp.moveaxis(x.reshape(*x.shape[:axis], count, length, *x.shape[axis + 1 :]), axis, 0)


def _unchunked(x: Array, length: int, axis: int = 3) -> Array:
    """Reverses ``_chunked`` and removes the padding."""
    x = jnp.moveaxis(x, 0, axis)
    x = x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])
    return jax.lax.slice_in_dim(x, 0, length, axis=axis)
