"""The inside of attention: scores, softmax, weighted values, and a backward pass written by hand.

Automatic differentiation of a softmax divides every weight by its row's sum and reads both again. Here
the unnormalised exponentials are kept, and all division happens on arrays without a key axis. With
e = exp(score - max), l its sum over the keys and o = (e v) / l, the gradient g of o gives, as
d softmax = p * (g·v - g·o) for p = e / l::

    g' = g / l,   dv = eᵀ g',   dscore = e * (g' vᵀ - g'·o)

which makes attention in a training step twice as fast on a CPU and saves one array of weights a layer
on every device.

In blocks, of rows or of queries, the exponentials are computed a second time in the backward pass: blocks of rows are
small enough for a CPU's cache, and blocks of queries spare long rows an array with a place for every pair of a query
and a key.

Shapes: B rows of a batch, H query heads, G key heads, R = H / G, T query length, S key length, K width of one
head, M = H * K, N = R * T queries of one key head, t queries of a block.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from flan_jax.models.ops.attention_mask import AttentionMask

MASKED = -1e9
"""The score of a key that is not seen: far below any score, and far from overflow."""

CAUSAL_PIECES = 4
"""Where queries see nothing behind them, they are taken in so many pieces, each with the keys up to its end: 5/8 of
the work of the square. Twice as many in blocks of rows (9/16), which do not wait for memory: the step of a decoder of
100 million parameters with 1,024 tokens a row took 10.9 s with four and 10.5 s with eight."""
CAUSAL_LENGTH = 64
"""Queries of a piece at least; rows that do not give four are taken whole."""


@dataclasses.dataclass(frozen=True)
class AttentionOptions:
    """How attention is computed. Hashable.

    Attributes:
        scale: multiplies the scores.
        softcap: scores become ``softcap * tanh(score / softcap)``; ``None`` leaves them.
        queries: of a block; ``None`` for all at once.
        rows: of a block, a divisor of B; ``None`` for all at once, as beside ``queries``.
    """

    scale: float = 1.0
    softcap: float | None = None
    queries: int | None = None
    rows: int | None = None

    @property
    def keeps(self) -> bool:
        """Whether the exponentials of all scores are kept for the backward pass.

        Those of blocks are computed again, and so are all where a softcap needs the scores.
        """
        return self.queries is None and self.rows is None and self.softcap is None


def dot_product_attention(
    q_BHTK: Float[Array, "B H T K"],
    k_BGSK: Float[Array, "B G S K"],
    v_BGSK: Float[Array, "B G S K"],
    position: Float[Array, "#B H T S"] | None,
    sight: AttentionMask,
    how: AttentionOptions = AttentionOptions(),
) -> Float[Array, "B T M"]:
    """``softmax(scale * q kᵀ + position) v`` for every head, over the keys that a query sees; the heads side by side.

    Products are in the type of ``q`` and summed in float32; the softmax is float32. A query that sees no key gets
    zeros.

    Args:
        position: a bias that is learned, one for all rows or one for each; ``None`` for none.
        sight: which keys each query sees.
        how: the scale, the cap, and whether in blocks.
    """
    (rows, heads, length, width), groups = q_BHTK.shape, k_BGSK.shape[1]
    q = q_BHTK.reshape(rows, groups, heads // groups, length, width)
    return _weigh(how, q, k_BGSK, v_BGSK, position, sight)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _weigh(how: AttentionOptions, q: Array, k: Array, v: Array, position: Array | None, sight: AttentionMask) -> Array:
    return _forward(how, q, k, v, position, sight)[0]


def _forward(how: AttentionOptions, q: Array, k: Array, v: Array, position: Array | None, sight: AttentionMask) -> Any:
    pieces = _pieces(how, sight, q.shape[3], k.shape[2])
    seen = [_seen(how, sight, piece) for piece in pieces]
    if how.rows is None:
        o_BTM, kept = _pieces_forward(how, pieces, q, k, v, position, seen)
    else:
        each, shared = _of_rows(position)

        def one(nothing: None, block: Any) -> tuple[None, Any]:
            q, k, v, own, seen = block
            return nothing, _pieces_forward(how, pieces, q, k, v, shared if own is None else own, seen)

        _, (o, kept) = jax.lax.scan(one, None, _in_rows(how, (q, k, v, each, seen)))
        o_BTM = o.reshape(-1, *o.shape[2:])
    return o_BTM, (q, k, v, position, sight, o_BTM, kept)


def _backward(how: AttentionOptions, residuals: Any, g_BTM: Array) -> Any:
    q, k, v, position, sight, o_BTM, kept = residuals
    pieces = _pieces(how, sight, q.shape[3], k.shape[2])
    seen = [_seen(how, sight, piece) for piece in pieces]
    if how.rows is None:
        return *_pieces_backward(how, pieces, q, k, v, position, seen, o_BTM, g_BTM, kept), None
    each, shared = _of_rows(position)

    def one(total: Array | None, block: Any) -> tuple[Array | None, Any]:
        (q, k, v, own, seen, o_BTM, g_BTM), kept = block
        position = shared if own is None else own
        *gradients, part = _pieces_backward(how, pieces, q, k, v, position, seen, o_BTM, g_BTM, kept)
        if total is None or part is None:
            return total, (*gradients, part)
        return total + part, (*gradients, None)

    zeros = None if shared is None else jnp.zeros(shared.shape, jnp.float32)
    total, gradients = jax.lax.scan(one, zeros, (_in_rows(how, (q, k, v, each, seen, o_BTM, g_BTM)), kept))
    dq, dk, dv, dposition = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), gradients)
    return dq, dk, dv, dposition if total is None else total, None


_weigh.defvjp(_forward, _backward)


def _in_rows(how: AttentionOptions, arrays: Any) -> Any:
    """Blocks of rows on a leading axis."""
    return jax.tree.map(lambda x: x.reshape(-1, how.rows, *x.shape[1:]), arrays)


def _of_rows(position: Array | None) -> tuple[Array | None, Array | None]:
    """The bias, where every row has one of its own; and where it is one for all."""
    return (None, position) if position is None or position.shape[0] == 1 else (position, None)


# --- causal rows in pieces -------------------------------------------------------------------------------------------


class _Piece(NamedTuple):
    """Queries in a row that are weighed together."""

    start: int
    stop: int
    keys: int  # so many of the first may be seen

    def of(self, q: Array, k: Array, v: Array, position: Array | None) -> tuple[Array, Array, Array, Array | None]:
        part = None if position is None else position[:, :, self.start : self.stop, : self.keys]
        return q[:, :, :, self.start : self.stop], k[:, :, : self.keys], v[:, :, : self.keys], part


def _pieces(how: AttentionOptions, sight: AttentionMask, queries: int, keys: int) -> list[_Piece]:
    count = min(CAUSAL_PIECES * (1 if how.rows is None else 2), queries // CAUSAL_LENGTH)
    if not sight.aligned or sight.query_prefix is not None or count < CAUSAL_PIECES:
        return [_Piece(0, queries, keys)]
    ends = [queries * (i + 1) // count for i in range(count)]
    return [_Piece(start, end, end) for start, end in zip([0, *ends], ends, strict=False)]


def _seen(how: AttentionOptions, sight: AttentionMask, piece: _Piece) -> Array | AttentionMask:
    """The pairs of a query and a key it sees; of blocks of queries what tells them, as each asks for its own.

    Blocks of rows find them in an array that is there before the first: in a loop XLA would compare the ids of every
    pair once a head, among the exponentials, which takes four times as long as to read what was found.
    """
    part = sight.queries(piece.start, piece.stop).keys(piece.keys)
    return part.visible() if how.queries is None else part


def _pieces_forward(
    how: AttentionOptions,
    pieces: Sequence[_Piece],
    q: Array,
    k: Array,
    v: Array,
    position: Array | None,
    seen: Sequence[Any],
) -> tuple[Array, Any]:
    """The output ``[B, T, M]``, and what each piece keeps."""
    forward = _kept_forward if how.keeps else _again_forward if how.queries is None else _blocks_forward
    found = [forward(how, *piece.of(q, k, v, position), of_piece) for piece, of_piece in zip(pieces, seen, strict=True)]
    o, kept = zip(*found, strict=True)
    return jnp.moveaxis(_joined(o, 3), 3, 1).reshape(q.shape[0], q.shape[3], -1), kept


def _pieces_backward(
    how: AttentionOptions,
    pieces: Sequence[_Piece],
    q: Array,
    k: Array,
    v: Array,
    position: Array | None,
    seen: Sequence[Any],
    o_BTM: Array,
    g_BTM: Array,
    kept: Sequence[Any],
) -> tuple[Array, Array, Array, Array | None]:
    """The gradients of ``q``, ``k``, ``v`` and ``position``."""
    backward = _kept_backward if how.keeps else _again_backward if how.queries is None else _blocks_backward

    def by_head(x_BTM: Array) -> Array:
        return x_BTM.reshape(q.shape[0], q.shape[3], *q.shape[1:3], -1)

    along = jnp.sum(by_head(g_BTM).astype(jnp.float32) * by_head(o_BTM).astype(jnp.float32), axis=-1, keepdims=True)
    g, along = (jnp.moveaxis(x, 1, 3) for x in (by_head(g_BTM), along))
    dq, dposition = [], []
    dk, dv = (jnp.zeros(x.shape, jnp.float32) for x in (k, v))
    for piece, of_piece, sees in zip(pieces, kept, seen, strict=True):
        beside = (of_piece, *(x[:, :, :, piece.start : piece.stop] for x in (g, along)))
        to_q, to_k, to_v, to_position = backward(how, (*piece.of(q, k, v, position), sees), *beside)
        dq.append(to_q.astype(q.dtype))
        dk, dv = (sums.at[:, :, : piece.keys].add(part) for sums, part in ((dk, to_k), (dv, to_v)))
        if to_position is not None:
            behind = k.shape[2] - piece.keys
            dposition.append(jnp.pad(to_position, ((0, 0), (0, 0), (0, 0), (0, behind))))
    of_position = _joined(dposition, 2) if dposition else None
    return _joined(dq, 3), dk.astype(k.dtype), dv.astype(v.dtype), of_position


def _joined(parts: Sequence[Array], axis: int) -> Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=axis)


def _scores(
    how: AttentionOptions, q: Array, k: Array, position: Array | None, seen: Array
) -> tuple[Array, Array | None]:
    """Float32 scores ``[B, G, N, S]`` as the softmax takes them, and their slope under the cap, if there is one."""
    raw = jnp.einsum("BGNK,BGSK->BGNS", _flat(q), k, preferred_element_type=jnp.float32)
    scores, slope = raw if how.scale == 1.0 else raw * how.scale, None
    if how.softcap is not None:
        bent = jnp.tanh(scores / how.softcap)
        scores, slope = how.softcap * bent, 1.0 - jnp.square(bent)
    # The biases are added one by one: their sum would be as large as the scores and be read in every layer.
    split = scores.reshape(*q.shape[:4], k.shape[2])
    if position is not None:
        split += position.reshape(position.shape[0], *q.shape[1:4], k.shape[2])
    split = jnp.where(seen[:, None, None], split, MASKED)
    return split.reshape(raw.shape), slope


def _flat(x: Array) -> Array:
    """``[B, G, R, T, …]`` as ``[B, G, R * T, …]``: all queries of a key head are the rows of one product."""
    return x.reshape(*x.shape[:2], -1, *x.shape[4:])


def _to_queries(how: AttentionOptions, dscores: Array, k: Array) -> Array:
    dq = jnp.einsum("BGNS,BGSK->BGNK", dscores, k, preferred_element_type=jnp.float32)
    return dq if how.scale == 1.0 else dq * how.scale


def _to_keys(weights: Array, x: Array) -> Float[Array, "B G S K"]:
    """``weightsᵀ x`` in float32, in the order of operands that spares the CPU a transposition of the large one."""
    return jnp.einsum("BGNK,BGNS->BGKS", x, weights, preferred_element_type=jnp.float32).swapaxes(2, 3)


def _to_position(dscores: Array, position: Array) -> Array:
    """Sums over the rows that share a bias.

    As a product with ones: XLA's sum over a leading axis runs element by element on a CPU, some thirty
    times slower. In full precision also where the default for products is lower.
    """
    dscores = dscores.reshape(-1, *position.shape[1:])
    if position.shape[0] == dscores.shape[0]:
        return dscores
    ones_B = jnp.ones(dscores.shape[0], jnp.float32)
    return jnp.einsum("B,BHTS->HTS", ones_B, dscores, precision=jax.lax.Precision.HIGHEST)[None]


# --- with the exponentials kept --------------------------------------------------------------------------------------


def _kept_forward(how: AttentionOptions, q: Array, k: Array, v: Array, position: Array | None, seen: Array) -> Any:
    scores, _ = _scores(how, q, k, position, seen)
    largest = jnp.max(scores, axis=-1, keepdims=True)
    e = jnp.exp(scores - largest)
    # Without a visible key (a packed example without inputs, in cross-attention) the weights would be equal over the
    # whole row, neighbours included.
    inverse = jnp.where(largest > MASKED / 2, 1.0 / jnp.sum(e, axis=-1, keepdims=True), 0.0)
    e = e.astype(q.dtype)
    o = jnp.einsum("BGNS,BGSK->BGNK", e, v, preferred_element_type=jnp.float32)
    return (o * inverse).astype(q.dtype).reshape(q.shape), (e, inverse)


def _kept_backward(how: AttentionOptions, operands: Any, kept: tuple[Array, Array], g: Array, along: Array) -> Any:
    (q, k, v, position, _), (e, inverse) = operands, kept
    g = (_flat(g).astype(jnp.float32) * inverse).astype(q.dtype)
    of_weights = jnp.einsum("BGNK,BGSK->BGNS", g, v, preferred_element_type=jnp.float32)
    dscores = e * (of_weights - _flat(along) * inverse)
    dposition = None if position is None else _to_position(dscores, position)
    dscores = dscores.astype(q.dtype)
    dq = _to_queries(how, dscores, k).reshape(q.shape)
    return dq, how.scale * _to_keys(dscores, _flat(q)), _to_keys(e, g), dposition


# --- with the exponentials computed again ----------------------------------------------------------------------------


def _again_forward(how: AttentionOptions, q: Array, k: Array, v: Array, position: Array | None, seen: Array) -> Any:
    scores, _ = _scores(how, q, k, position, seen)
    largest = jnp.max(scores, axis=-1, keepdims=True)
    e = jnp.exp(scores - largest)
    total = jnp.sum(e, axis=-1, keepdims=True)
    sees = largest > MASKED / 2
    o = jnp.einsum("BGNS,BGSK->BGNK", e.astype(q.dtype), v, preferred_element_type=jnp.float32)
    o = (o * jnp.where(sees, 1.0 / total, 0.0)).astype(q.dtype).reshape(q.shape)
    # No score comes near, so that all weights of a query that sees nothing are 0 in the backward pass too.
    return o, jnp.where(sees, largest + jnp.log(total), -MASKED).reshape(*q.shape[:4], 1)


def _again_backward(how: AttentionOptions, operands: Any, log_total: Array, g: Array, along: Array) -> Any:
    q, k, v, position, seen = operands
    scores, slope = _scores(how, q, k, position, seen)
    weights = jnp.exp(scores - _flat(log_total))
    dscores = weights * (jnp.einsum("BGNK,BGSK->BGNS", _flat(g), v, preferred_element_type=jnp.float32) - _flat(along))
    dposition = None if position is None else _to_position(dscores, position)
    dscores = (dscores if slope is None else dscores * slope).astype(q.dtype)
    dk, dv = how.scale * _to_keys(dscores, _flat(q)), _to_keys(weights.astype(q.dtype), _flat(g))
    return _to_queries(how, dscores, k).reshape(q.shape), dk, dv, dposition


# --- and in blocks of queries ----------------------------------------------------------------------------------------


def _blocks_forward(
    how: AttentionOptions, q: Array, k: Array, v: Array, position: Array | None, sight: AttentionMask
) -> Any:
    def one(nothing: None, block: Any) -> tuple[None, tuple[Array, Array]]:
        q, position, asked = block
        return nothing, _again_forward(how, q, k, v, position, sight.asked_by(*asked).visible())

    _, (o, log_total) = jax.lax.scan(one, None, _blocks(how, q, position, sight))
    return _whole(o, q.shape[3]), _whole(log_total, q.shape[3])


def _blocks_backward(how: AttentionOptions, operands: Any, log_total: Array, g: Array, along: Array) -> Any:
    q, k, v, position, sight = operands

    def one(sums: tuple[Array, Array], block: Any) -> tuple[tuple[Array, Array], tuple[Array, Array | None]]:
        (q, position, asked), *beside = block
        operands = (q, k, v, position, sight.asked_by(*asked).visible())
        dq, dk, dv, dposition = _again_backward(how, operands, beside[2], *beside[:2])
        return (sums[0] + dk, sums[1] + dv), (dq, dposition)

    beside = [_split(x, how.queries or q.shape[3], 3) for x in (g, along, log_total)]
    zeros = (jnp.zeros(k.shape, jnp.float32), jnp.zeros(v.shape, jnp.float32))
    (dk, dv), (dq, dposition) = jax.lax.scan(one, zeros, (_blocks(how, q, position, sight), *beside))
    of_position = None if dposition is None else _whole(dposition, q.shape[3], 2)
    return _whole(dq, q.shape[3]), dk, dv, of_position


def _blocks(
    how: AttentionOptions, q: Array, position: Array | None, sight: AttentionMask
) -> tuple[Array, Array | None, Any]:
    """Blocks of queries on a leading axis, with their positions and what tells whom they see."""
    length = how.queries or q.shape[3]
    positions = None if position is None else _split(position, length, 2)
    prefix = None if sight.query_prefix is None else _split(sight.query_prefix, length, 1)
    asked = (_split(jnp.asarray(sight.query), length, 1), _split(jnp.asarray(sight.place), length, 0), prefix)
    return _split(q, length, 3), positions, asked


def _split(x: Array, length: int, axis: int) -> Array:
    """Blocks of an axis on a leading one; the last is filled with zeros: segment 0, which asks for nothing."""
    count = -(-x.shape[axis] // length)
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, count * length - x.shape[axis])
    x = jnp.pad(x, widths)
    return jnp.moveaxis(x.reshape(*x.shape[:axis], count, length, *x.shape[axis + 1 :]), axis, 0)


def _whole(x: Array, length: int, axis: int = 3) -> Array:
    """The blocks one after another again, without what they were filled with."""
    x = jnp.moveaxis(x, 0, axis)
    x = x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])
    return jax.lax.slice_in_dim(x, 0, length, axis=axis)
