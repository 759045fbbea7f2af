"""Buckets of distances and position biases."""

import math

import jax
import numpy as np
import pytest
from flax import nnx

from flan_jax.models.t5.attention import Attention, RelativeBias, distance_buckets, preferred_buckets
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
    np.testing.assert_array_equal(bias.square(length, groups=2), np.repeat(square, 2, axis=0))


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


def test_related_projections_keep_their_spread():
    config = tiny_t5(d_model=64, d_kv=16, num_heads=8, mimetic_init=0.8)
    layer = jax.jit(lambda: nnx.to_pure_dict(nnx.state(Attention(config, rngs=nnx.Rngs(0)))))()
    q, k, v, o = (np.asarray(layer[name]) for name in "qkvo")
    assert np.std(q) == pytest.approx((64 * 16) ** -0.5, rel=0.05)
    assert np.std(o) == pytest.approx((8 * 16) ** -0.5, rel=0.05)
    for one, other in ((q, k), (o, v.T)):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] == pytest.approx(0.8, abs=0.03)


def test_heads_that_prefer_a_distance_look_back_and_where_they_can_ahead():
    both = preferred_buckets(16, 6, bidirectional=True)  # 8 buckets a direction, 4 of them exact
    assert both.argmax(axis=0).tolist() == [1, 2, 3, 9, 10, 11]
    back = preferred_buckets(16, 6, bidirectional=False)
    assert back[:, :3].argmax(axis=0).tolist() == [1, 2, 3]
    assert not back[:, 3:].any()
    offsets = np.array([-2, 2], np.int32)
    config = tiny_t5(num_heads=6, relative_attention_num_buckets=16, relative_bias_init=9.0)
    values = RelativeBias(config, bidirectional=True, rngs=nnx.Rngs(0)).values(offsets)
    assert values.argmax(axis=1).tolist() == [1, 4]
