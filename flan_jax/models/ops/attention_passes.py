"""Forward and backward passes of attention: with saved exponentials, with recomputed ones, in chunks of queries.

``attention`` says what they compute and calls them. Shapes: B rows of a batch, G key heads, R query heads of a key head,
T query length, S key length, K width of one head, N = R * T queries of one key head.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from flan_jax.models.ops.attention_mask import AttentionMask

MASKED = -1e9
"""The score of a masked key: far below any score, and far from overflow."""


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
        """True where the backward pass uses saved exponentials of all scores.

        Chunks recompute theirs, and so does a softcap, whose gradient needs the scores.
        """
        return self.query_chunk is None and self.batch_chunk is None and self.softcap is None


DEFAULT_OPTIONS = AttentionOptions()


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
        split = _with_bias(split, bias.reshape(bias.shape[0], *q.shape[1:4], k.shape[2]))
    split = jnp.where(visible[:, None, None], split, MASKED)
    return split.reshape(raw.shape), slope


def _with_bias(scores: Array, bias: Array) -> Array:
    """Adds a bias of all rows, of each, or of each of several groups of consecutive rows."""
    groups, rows = bias.shape[0], scores.shape[0]
    if groups in (1, rows):
        return scores + bias
    return (scores.reshape(groups, rows // groups, *scores.shape[1:]) + bias[:, None]).reshape(scores.shape)


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
    if bias.shape[0] > 1:
        parts = dscores.reshape(bias.shape[0], -1, *bias.shape[1:])
        ones_B = jnp.ones(parts.shape[1], jnp.float32)
        return jnp.einsum("B,PBHTS->PHTS", ones_B, parts, precision=jax.lax.Precision.HIGHEST)
    ones_B = jnp.ones(dscores.shape[0], jnp.float32)
    return jnp.einsum("B,BHTS->HTS", ones_B, dscores, precision=jax.lax.Precision.HIGHEST)[None]


# --- with saved exponentials -----------------------------------------------------------------------------------------


def saved_forward(options: AttentionOptions, q: Array, k: Array, v: Array, bias: Array | None, visible: Array) -> Any:
    """Computes attention and saves the exponentials: returns the output, and (exponentials, inverse sums)."""
    scores, _ = _scores(options, q, k, bias, visible)
    largest = jnp.max(scores, axis=-1, keepdims=True)
    e = jnp.exp(scores - largest)
    # Without a visible key (a packed example without inputs, in cross-attention) the weights would be equal over the
    # whole row, neighbours included.
    inverse = jnp.where(largest > MASKED / 2, 1.0 / jnp.sum(e, axis=-1, keepdims=True), 0.0)
    e = e.astype(q.dtype)
    o = jnp.einsum("BGNS,BGSK->BGNK", e, v, preferred_element_type=jnp.float32)
    return (o * inverse).astype(q.dtype).reshape(q.shape), (e, inverse)


def saved_backward(options: AttentionOptions, operands: Any, saved: tuple[Array, Array], g: Array, delta: Array) -> Any:
    """Returns the gradients of ``q``, ``k``, ``v`` and ``bias`` from saved exponentials."""
    (q, k, v, bias, _), (e, inverse) = operands, saved
    g = (_merge_groups(g).astype(jnp.float32) * inverse).astype(q.dtype)
    of_weights = jnp.einsum("BGNK,BGSK->BGNS", g, v, preferred_element_type=jnp.float32)
    dscores = e * (of_weights - _merge_groups(delta) * inverse)
    dbias = None if bias is None else _bias_gradient(dscores, bias)
    dscores = dscores.astype(q.dtype)
    dq = _query_gradient(options, dscores, k).reshape(q.shape)
    return dq, options.scale * _key_gradient(dscores, _merge_groups(q)), _key_gradient(e, g), dbias


# --- with recomputed exponentials ------------------------------------------------------------------------------------


def recompute_forward(
    options: AttentionOptions, q: Array, k: Array, v: Array, bias: Array | None, visible: Array
) -> Any:
    """Computes attention and saves the logarithm of every query's sum only: returns the output and that."""
    scores, _ = _scores(options, q, k, bias, visible)
    largest = jnp.max(scores, axis=-1, keepdims=True)
    e = jnp.exp(scores - largest)
    total = jnp.sum(e, axis=-1, keepdims=True)
    has_key = largest > MASKED / 2
    o = jnp.einsum("BGNS,BGSK->BGNK", e.astype(q.dtype), v, preferred_element_type=jnp.float32)
    o = (o * jnp.where(has_key, 1.0 / total, 0.0)).astype(q.dtype).reshape(q.shape)
    # Far above any score, so that all weights of a query without a visible key are 0 in the backward pass too.
    return o, jnp.where(has_key, largest + jnp.log(total), -MASKED).reshape(*q.shape[:4], 1)


def recompute_backward(options: AttentionOptions, operands: Any, log_total: Array, g: Array, delta: Array) -> Any:
    """Returns the gradients of ``q``, ``k``, ``v`` and ``bias`` from recomputed exponentials."""
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


def query_chunked_forward(
    options: AttentionOptions, q: Array, k: Array, v: Array, bias: Array | None, mask: AttentionMask
) -> Any:
    """Computes ``recompute_forward`` chunk by chunk of the queries."""

    def one(nothing: None, chunk: Any) -> tuple[None, tuple[Array, Array]]:
        q, bias, query_mask = chunk
        return nothing, recompute_forward(options, q, k, v, bias, mask.with_queries(*query_mask).materialize())

    _, (o, log_total) = jax.lax.scan(one, None, _query_chunks(options, q, bias, mask))
    return _unchunked(o, q.shape[3]), _unchunked(log_total, q.shape[3])


def query_chunked_backward(options: AttentionOptions, operands: Any, log_total: Array, g: Array, delta: Array) -> Any:
    """Computes ``recompute_backward`` chunk by chunk of the queries."""
    q, k, v, bias, mask = operands

    def one(sums: tuple[Array, Array], chunk: Any) -> tuple[tuple[Array, Array], tuple[Array, Array | None]]:
        (q, bias, query_mask), *beside = chunk
        operands = (q, k, v, bias, mask.with_queries(*query_mask).materialize())
        dq, dk, dv, dbias = recompute_backward(options, operands, beside[2], *beside[:2])
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
