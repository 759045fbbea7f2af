"""Attention in every way of computing it is plain attention, in values and gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.models.ops import attention as weighing
from flan_jax.models.ops.attention import AttentionOptions, dot_product_attention
from flan_jax.models.ops.attention_mask import AttentionMask, segment_mask


def plain(q, k, v, position, sight, how):
    """By the book, with key heads repeated; the heads side by side."""
    k, v = (jnp.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
    scores = how.scale * jnp.einsum("BHTK,BHSK->BHTS", q, k)
    if how.softcap is not None:
        scores = how.softcap * jnp.tanh(scores / how.softcap)
    scores = scores if position is None else scores + position
    visible = sight.visible()[:, None]
    weights = jax.nn.softmax(jnp.where(visible, scores, -1e30), axis=-1) * visible.any(-1, keepdims=True)
    return jnp.einsum("BHTS,BHSK->BTHK", weights, v).reshape(q.shape[0], q.shape[2], -1)


def operands(seed, *, rows=2, heads=4, groups=4, queries=6, keys=6, bias=0, prefix=False, causal=False, window=None):
    rng = np.random.default_rng(seed)
    shapes = [(rows, heads, queries, 5), (rows, groups, keys, 5), (rows, groups, keys, 5), (bias, heads, queries, keys)]
    q, k, v, position = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)
    lengths = rng.integers(1, max(2, keys // 2 + 1), (rows, 2))
    ids = np.stack([np.repeat([1, 2, 0], [a, b, max(queries, keys) - a - b]) for a, b in lengths]).astype(np.int32)
    inside = np.arange(max(queries, keys)) < 2
    inside = np.broadcast_to(inside, ids.shape) | ((ids == 2) & (np.arange(ids.shape[1]) < lengths[:, :1] + 2))
    sight = AttentionMask(
        ids[:, :queries], ids[:, :keys], jnp.arange(queries),
        window=None if window is None else jnp.int32(window),
        query_prefix=jnp.asarray(inside[:, :queries]) if prefix else None,
        key_prefix=jnp.asarray(inside[:, :keys]) if prefix else None,
        causal=causal, aligned=causal and queries == keys,
    )  # fmt: skip
    return q, k, v, position if bias else None, sight


def check(operands, how, atol=2e-5):
    *arrays, sight = operands
    wanted = tuple(i for i, x in enumerate(arrays) if x is not None)

    def both(function):
        loss = lambda *arrays: jnp.sum(jnp.sin(function(*arrays, sight, how) + 1))  # noqa: E731
        return jax.jit(lambda *arrays: (function(*arrays, sight, how), jax.grad(loss, wanted)(*arrays)))(*arrays)

    (ours, our_gradients), (exact, gradients) = both(dot_product_attention), both(plain)
    np.testing.assert_allclose(ours, exact, atol=atol)
    for a, b in zip(our_gradients, gradients, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=atol)


BLOCKS = [{}, {"queries": 2}, {"queries": 4}, {"queries": 16}, {"rows": 1}, {"rows": 2}]
ONE_OF_EACH = pytest.mark.parametrize("blocks", [{}, {"queries": 4}, {"rows": 1}], ids=["all", "queries", "rows"])


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000), groups=st.sampled_from([1, 2, 4]), length=st.integers(2, 9), blocks=st.sampled_from(BLOCKS),
    bias=st.integers(0, 2), causal=st.booleans(), prefix=st.booleans(), window=st.sampled_from([None, 1, 3]),
    softcap=st.sampled_from([None, 2.0]), scale=st.sampled_from([1.0, 0.3]), pieces=st.booleans(),
)  # fmt: skip
def test_every_way_is_plain_attention(
    seed, groups, length, blocks, bias, causal, prefix, window, softcap, scale, pieces
):
    of_one = operands(
        seed, groups=groups, queries=length, keys=length, bias=bias, causal=causal, prefix=prefix, window=window
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weighing, "CAUSAL_LENGTH", 1 if pieces else 100)
        check(of_one, AttentionOptions(scale, softcap, **blocks))


@ONE_OF_EACH
def test_queries_of_one_text_look_at_another(blocks):
    check(operands(0, queries=7, keys=10, bias=1), AttentionOptions(**blocks))


@pytest.mark.parametrize("softcap", [None, 3.0])
def test_blocks_hold_no_square(softcap):
    rows, heads, length = 6, 4, 512
    q, k, v, _, sight = operands(0, rows=rows, queries=length, keys=length, causal=True)

    def needed(how):
        gradient = jax.grad(lambda q, k, v: jnp.sum(dot_product_attention(q, k, v, None, sight, how)), (0, 1, 2))
        return jax.jit(gradient).lower(q, k, v).compile().memory_analysis().temp_size_in_bytes

    all_scores = 4 * rows * heads * length * length
    assert needed(AttentionOptions(softcap=softcap, queries=32)) < all_scores / 2
    assert (
        needed(AttentionOptions(softcap=softcap, rows=1)) < all_scores / 2 < needed(AttentionOptions(softcap=softcap))
    )


def test_a_bias_of_all_rows_is_never_one_of_each():
    q, k, v, position, sight = operands(0, rows=3, queries=64, keys=64, bias=1)

    def loss(position):
        return jnp.sum(dot_product_attention(q, k, v, position, sight, AttentionOptions(queries=16)))

    shapes = {aval.shape for aval in everything(jax.make_jaxpr(jax.grad(loss))(position).jaxpr)}
    assert (3, 4, 64, 64) not in shapes
    assert (3, 64, 64) not in shapes  # nor is there a mask of all pairs


def everything(jaxpr):
    for equation in jaxpr.eqns:
        yield from (variable.aval for variable in equation.outvars)
        for value in equation.params.values():
            for part in value if isinstance(value, (tuple, list)) else (value,):
                part = getattr(part, "jaxpr", part)
                if hasattr(part, "eqns"):
                    yield from everything(part)


@ONE_OF_EACH
def test_half_precision_sums_in_float32(blocks):
    q, k, v, position, sight = operands(0, bias=1)
    half = [x.astype(jnp.bfloat16) for x in (q, k, v)]
    how = AttentionOptions(**blocks)
    rough = jax.jit(lambda *o: dot_product_attention(*o, sight, how))(*half, position)
    assert rough.dtype == jnp.bfloat16
    np.testing.assert_allclose(rough.astype(np.float32), plain(q, k, v, position, sight, how), atol=0.05)
    loss = lambda q, position: dot_product_attention(q, *half[1:], position, sight, how).astype(jnp.float32).sum()  # noqa: E731
    gradients = jax.jit(jax.grad(loss, (0, 1)))(half[0], position)
    assert [g.dtype for g in gradients] == [jnp.bfloat16, jnp.float32]


@ONE_OF_EACH
def test_large_scores_do_not_overflow(blocks):
    q, k, v, position, sight = operands(0, bias=1)
    found = jax.jit(lambda position: dot_product_attention(q, k, v, position, sight, AttentionOptions(**blocks)))(
        position * 1e4
    )
    np.testing.assert_allclose(found, plain(q, k, v, position * 1e4, sight, AttentionOptions()), atol=1e-5)


def test_the_sights_of_the_docstring():
    ids = jnp.array([[1, 1, 2, 0]])
    assert segment_mask(ids, ids, causal=True).visible()[0].astype(int).tolist() == [
        [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0],
    ]  # fmt: skip


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=4), st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_a_query_sees_its_own_segment_and_nobody_sees_padding(queries, keys):
    visible = np.asarray(segment_mask(jnp.array([queries]), jnp.array([keys])).visible())
    assert visible.shape == (1, 4, 5)
    for t, query in enumerate(queries):
        for s, key in enumerate(keys):
            assert visible[0, t, s] == (query == key != 0)


@ONE_OF_EACH
def test_a_query_that_sees_no_key_gets_zeros_and_gives_no_gradient(blocks):
    q, k, v, position, sight = operands(0, bias=1)
    blind = dataclasses.replace(sight, query=np.where(np.arange(6) == 2, 7, sight.query))
    how = AttentionOptions(**blocks)

    def both(q, k, v, position):
        return dot_product_attention(q, k, v, position, blind, how)

    loss = lambda *operands: jnp.sum(jnp.sin(both(*operands) + 1))  # noqa: E731
    out, gradients = jax.jit(lambda *o: (both(*o), jax.grad(loss, (0, 1, 2, 3))(*o)))(q, k, v, position)
    assert (out[:, 2] == 0).all()
    assert (gradients[0][:, :, 2] == 0).all()
    assert (gradients[3][:, :, 2] == 0).all()
