"""Buckets of distances, position biases and masks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.models.attention import Attention, RelativeBias, distance_buckets, preferred_distances, segment_mask
from flan_jax.models.weighing import MASKED, weigh
from flan_jax.testing.models import tiny_t5


@pytest.mark.parametrize(("buckets", "distance"), [(16, 128), (32, 128), (8, 20), (4, 8), (2, 3)])
def test_buckets_are_exact_then_logarithmic_then_one(buckets, distance):
    table = distance_buckets(buckets, distance)
    exact = buckets // 2
    assert table.shape == (distance + 1,)
    assert table[:exact].tolist() == list(range(exact))
    assert (np.diff(table) >= 0).all()
    assert table[-1] == buckets - 1
    for d in range(exact, distance):
        place = exact + math.log(d / exact) / math.log(distance / exact) * (buckets - exact)
        assert table[d] in {min(int(place - 1e-4), buckets - 1), min(int(place + 1e-4), buckets - 1)}


def test_the_published_boundaries():
    # 16 buckets a direction and distance 128, T5's encoder: each bucket begins a factor of sqrt(2) after the last.
    starts = np.searchsorted(distance_buckets(16, 128), np.arange(16))
    assert starts.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("length", [1, 2, 30])
def test_the_square_is_the_bias_between_plain_indices(bidirectional, length):
    bias = RelativeBias(tiny_t5(), bidirectional=bidirectional, rngs=nnx.Rngs(0))
    index = np.arange(length, dtype=np.int32)[None]
    square, gathered = jax.jit(lambda: (bias.square(length), bias.between(index, index)))()
    assert square.shape == (1, 3, length, length)
    np.testing.assert_array_equal(square, gathered)


def test_the_square_and_the_gather_have_the_same_gradient():
    graphdef, state = nnx.split(RelativeBias(tiny_t5(), bidirectional=True, rngs=nnx.Rngs(0)))
    weights = np.random.default_rng(0).normal(size=(1, 3, 20, 20)).astype(np.float32)
    index = np.arange(20, dtype=np.int32)[None]

    def gradient(compute):
        loss = lambda state: (compute(nnx.merge(graphdef, state)) * weights).sum()  # noqa: E731
        return jax.tree.leaves(jax.jit(jax.grad(loss))(state))[0]

    np.testing.assert_allclose(
        gradient(lambda b: b.square(20)), gradient(lambda b: b.between(index, index)), rtol=1e-4, atol=1e-4
    )


def test_direction_matters_in_the_encoder_and_the_future_is_flat_in_the_decoder():
    biases = [RelativeBias(tiny_t5(), bidirectional=both, rngs=nnx.Rngs(0)) for both in (True, False)]
    both, back = (np.asarray(square)[0, 0] for square in jax.jit(lambda: [bias.square(6) for bias in biases])())
    assert both[0, 1] != both[1, 0]
    assert (back[0] == back[0, 0]).all()
    assert len(set(back[5].tolist())) > 3


def test_the_mask_of_the_docstring():
    ids = jnp.array([[1, 1, 2, 0]])
    visible = np.asarray(segment_mask(ids, ids, causal=True))[0, 0] == 0
    assert visible.astype(int).tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=4), st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_a_query_sees_its_own_segment_and_nobody_sees_padding(queries, keys):
    mask = np.asarray(segment_mask(jnp.array([queries]), jnp.array([keys])))
    assert mask.shape == (1, 1, 4, 5)
    for t, query in enumerate(queries):
        for s, key in enumerate(keys):
            assert (mask[0, 0, t, s] == 0) == (query == key != 0)


def _plain(q, k, v, position, mask):
    scores = q @ k.swapaxes(2, 3) + mask + (0 if position is None else position)
    return jax.nn.softmax(scores, axis=-1) @ v


def _operands(rows):
    rng = np.random.default_rng(0)
    shapes = [(2, 3, 6, 5), (2, 3, 7, 5), (2, 3, 7, 5), (rows, 3, 6, 7)]
    q, k, v, position = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes)
    ids = rng.integers(1, 3, (2, 13))
    return q, k, v, position if rows else None, segment_mask(ids[:, :6], ids[:, 6:])


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_the_gradient_by_hand_is_that_of_a_plain_softmax(rows):
    operands = _operands(rows)
    wanted = (0, 1, 2, 3) if rows else (0, 1, 2)

    def both(function):
        loss = lambda *operands: jnp.sum(jnp.sin(function(*operands)))  # noqa: E731
        return jax.jit(lambda *operands: (function(*operands), jax.grad(loss, wanted)(*operands)))(*operands)

    (ours, our_gradients), (plain, gradients) = both(weigh), both(_plain)
    np.testing.assert_allclose(ours, plain, atol=1e-5)
    for a, b in zip(our_gradients, gradients, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_query_that_sees_no_key_gets_zeros_and_gives_no_gradient():
    q, k, v, position, mask = _operands(1)
    blind = mask.at[0, :, 2].set(MASKED)
    loss = lambda *operands: jnp.sum(jnp.sin(weigh(*operands, blind) + 1))  # noqa: E731
    out, gradients = jax.jit(lambda *o: (weigh(*o, blind), jax.grad(loss, (0, 1, 2, 3))(*o)))(q, k, v, position)
    assert (out[0, :, 2] == 0).all()
    assert (gradients[0][0, :, 2] == 0).all()
    others = np.delete(np.arange(6), 2)
    np.testing.assert_allclose(out[:, :, others], _plain(q, k, v, position, mask)[:, :, others], atol=1e-5)
    # Keys and values learn from the other queries only.
    without = jax.grad(
        lambda k: jnp.sum(jnp.sin(weigh(q[:, :, others], k, v, position[:, :, others], mask[:, :, others]) + 1)[0])
    )(k)
    np.testing.assert_allclose(gradients[1][0], without[0], atol=1e-5)


def test_large_scores_do_not_overflow():
    q, k, v, position, mask = _operands(1)
    operands = (q, k, v, position * 1e4, mask)
    np.testing.assert_allclose(jax.jit(weigh)(*operands), jax.jit(_plain)(*operands), atol=1e-5)


def test_half_precision_sums_in_float32():
    q, k, v, position, mask = _operands(1)
    half = [x.astype(jnp.bfloat16) for x in (q, k, v)]
    rough = jax.jit(weigh)(*half, position, mask)
    assert rough.dtype == jnp.bfloat16
    np.testing.assert_allclose(rough, jax.jit(_plain)(q, k, v, position, mask), atol=0.05)
    loss = lambda q, position: weigh(q, *half[1:], position, mask).astype(jnp.float32).sum()  # noqa: E731
    gradients = jax.jit(jax.grad(loss, (0, 1)))(half[0], position)
    assert [g.dtype for g in gradients] == [jnp.bfloat16, jnp.float32]


def test_related_projections_keep_their_spread():
    config = tiny_t5(d_model=64, d_kv=16, num_heads=8, mimetic_init=0.8)
    layer = jax.jit(lambda: nnx.to_pure_dict(nnx.state(Attention(config, rngs=nnx.Rngs(0)))))()
    q, k, v, o = (np.asarray(layer[name]) for name in "qkvo")
    assert np.std(q) == pytest.approx((64 * 16) ** -0.5, rel=0.05)
    assert np.std(o) == pytest.approx((8 * 16) ** -0.5, rel=0.05)
    for one, other in ((q, k), (o, v.T)):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] == pytest.approx(0.8, abs=0.03)


def test_heads_that_prefer_a_distance_look_back_and_where_they_can_ahead():
    both = preferred_distances(16, 6, bidirectional=True)  # 8 buckets a direction, 4 of them exact
    assert both.argmax(axis=0).tolist() == [1, 2, 3, 9, 10, 11]
    back = preferred_distances(16, 6, bidirectional=False)
    assert back[:, :3].argmax(axis=0).tolist() == [1, 2, 3]
    assert not back[:, 3:].any()
    offsets = np.array([-2, 2], np.int32)
    config = tiny_t5(num_heads=6, relative_attention_num_buckets=16, position_heads=9.0)
    values = RelativeBias(config, bidirectional=True, rngs=nnx.Rngs(0)).values(offsets)
    assert values.argmax(axis=1).tolist() == [1, 4]
