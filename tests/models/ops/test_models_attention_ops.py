"""Attention with every option equals textbook attention, in values and gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deep import examples, with_deep
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.models.ops import attention as attention_ops
from flan_jax.models.ops.attention import dot_product_attention
from flan_jax.models.ops.attention_mask import AttentionMask, segment_mask
from flan_jax.models.ops.attention_passes import AttentionOptions


def reference(q, k, v, position, mask, options):
    """By the book, with key heads repeated; the heads side by side."""
    k, v = (jnp.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
    scores = options.scale * jnp.einsum("BHTK,BHSK->BHTS", q, k)
    if options.softcap is not None:
        scores = options.softcap * jnp.tanh(scores / options.softcap)
    scores = scores if position is None else scores + jnp.repeat(position, len(q) // len(position), axis=0)
    visible = mask.materialize()[:, None]
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
    mask = AttentionMask(
        ids[:, :queries], ids[:, :keys], jnp.arange(queries),
        window=None if window is None else jnp.int32(window),
        query_prefix=jnp.asarray(inside[:, :queries]) if prefix else None,
        key_prefix=jnp.asarray(inside[:, :keys]) if prefix else None,
        causal=causal, aligned=causal and queries == keys,
    )  # fmt: skip
    return q, k, v, position if bias else None, mask


def check(operands, options, atol=2e-5):
    *arrays, mask = operands
    wanted = tuple(i for i, x in enumerate(arrays) if x is not None)

    def both(function):
        loss = lambda *arrays: jnp.sum(jnp.sin(function(*arrays, mask, options) + 1))  # noqa: E731
        return jax.jit(lambda *arrays: (function(*arrays, mask, options), jax.grad(loss, wanted)(*arrays)))(*arrays)

    (ours, our_gradients), (exact, gradients) = both(dot_product_attention), both(reference)
    np.testing.assert_allclose(ours, exact, atol=atol)
    for a, b in zip(our_gradients, gradients, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=atol)


CHUNKS = [{}, *({"query_chunk": n} for n in (2, 4, 16)), {"batch_chunk": 1}, {"batch_chunk": 2}]
ONE_OF_EACH = pytest.mark.parametrize(
    "chunks", [{}, {"query_chunk": 4}, {"batch_chunk": 1}], ids=["whole", "queries", "batch"]
)


@pytest.mark.parametrize("chunks", [{}, {"query_chunk": 4}], ids=["whole", "queries"])
def test_a_bias_for_each_of_two_groups_of_rows(chunks):
    check(operands(3, rows=4, bias=2), AttentionOptions(**chunks))


@examples(15, deep=300)
@given(
    seed=st.integers(0, 1000), groups=st.sampled_from([1, 2, 4]), length=st.integers(2, 9), chunks=st.sampled_from(CHUNKS),
    bias=st.integers(0, 2), causal=st.booleans(), prefix=st.booleans(), window=st.sampled_from([None, 1, 3]),
    softcap=st.sampled_from([None, 2.0]), scale=st.sampled_from([1.0, 0.3]), causal_blocks=st.booleans(),
)  # fmt: skip
def test_all_options_compute_textbook_attention(
    seed, groups, length, chunks, bias, causal, prefix, window, softcap, scale, causal_blocks
):
    of_one = operands(
        seed, groups=groups, queries=length, keys=length, bias=bias, causal=causal, prefix=prefix, window=window
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_ops, "CAUSAL_LENGTH", 1 if causal_blocks else 100)
        check(of_one, AttentionOptions(scale, softcap, **chunks))


@ONE_OF_EACH
def test_queries_of_one_text_look_at_another(chunks):
    check(operands(0, queries=7, keys=10, bias=1), AttentionOptions(**chunks))


@pytest.mark.parametrize("softcap", with_deep([3.0], [None]))
def test_chunks_hold_no_square(softcap):
    rows, heads, length = 6, 4, 512
    q, k, v, _, mask = operands(0, rows=rows, queries=length, keys=length, causal=True)

    def needed(options):
        gradient = jax.grad(lambda q, k, v: jnp.sum(dot_product_attention(q, k, v, None, mask, options)), (0, 1, 2))
        return jax.jit(gradient).lower(q, k, v).compile().memory_analysis().temp_size_in_bytes

    all_scores = 4 * rows * heads * length * length
    assert needed(AttentionOptions(softcap=softcap, query_chunk=32)) < all_scores / 2
    assert (
        needed(AttentionOptions(softcap=softcap, batch_chunk=1))
        < all_scores / 2
        < needed(AttentionOptions(softcap=softcap))
    )


def test_a_bias_of_all_rows_is_never_one_of_each():
    q, k, v, position, mask = operands(0, rows=3, queries=64, keys=64, bias=1)

    def loss(position):
        return jnp.sum(dot_product_attention(q, k, v, position, mask, AttentionOptions(query_chunk=16)))

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
def test_half_precision_sums_in_float32(chunks):
    q, k, v, position, mask = operands(0, bias=1)
    half = [x.astype(jnp.bfloat16) for x in (q, k, v)]
    options = AttentionOptions(**chunks)
    rough = jax.jit(lambda *o: dot_product_attention(*o, mask, options))(*half, position)
    assert rough.dtype == jnp.bfloat16
    np.testing.assert_allclose(rough.astype(np.float32), reference(q, k, v, position, mask, options), atol=0.05)
    loss = lambda q, position: dot_product_attention(q, *half[1:], position, mask, options).astype(jnp.float32).sum()  # noqa: E731
    gradients = jax.jit(jax.grad(loss, (0, 1)))(half[0], position)
    assert [g.dtype for g in gradients] == [jnp.bfloat16, jnp.float32]


@ONE_OF_EACH
def test_large_scores_do_not_overflow(chunks):
    q, k, v, position, mask = operands(0, bias=1)
    found = jax.jit(lambda position: dot_product_attention(q, k, v, position, mask, AttentionOptions(**chunks)))(
        position * 1e4
    )
    np.testing.assert_allclose(found, reference(q, k, v, position * 1e4, mask, AttentionOptions()), atol=1e-5)


def test_the_masks_of_the_docstring():
    ids = jnp.array([[1, 1, 2, 0]])
    assert segment_mask(ids, ids, causal=True).materialize()[0].astype(int).tolist() == [
        [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0],
    ]  # fmt: skip


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=4), st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_a_query_sees_its_own_segment_and_nobody_sees_padding(queries, keys):
    visible = np.asarray(segment_mask(jnp.array([queries]), jnp.array([keys])).materialize())
    assert visible.shape == (1, 4, 5)
    for t, query in enumerate(queries):
        for s, key in enumerate(keys):
            assert visible[0, t, s] == (query == key != 0)


@ONE_OF_EACH
def test_a_query_that_sees_no_key_gets_zeros_and_gives_no_gradient(chunks):
    q, k, v, position, mask = operands(0, bias=1)
    blind = dataclasses.replace(mask, query=np.where(np.arange(6) == 2, 7, mask.query))
    options = AttentionOptions(**chunks)

    def both(q, k, v, position):
        return dot_product_attention(q, k, v, position, blind, options)

    loss = lambda *operands: jnp.sum(jnp.sin(both(*operands) + 1))  # noqa: E731
    out, gradients = jax.jit(lambda *o: (both(*o), jax.grad(loss, (0, 1, 2, 3))(*o)))(q, k, v, position)
    assert (out[:, 2] == 0).all()
    assert (gradients[0][:, :, 2] == 0).all()
    assert (gradients[3][:, :, 2] == 0).all()
