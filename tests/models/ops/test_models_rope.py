"""Rotary positions: what they turn, and how frequencies are stretched."""

import numpy as np
import pytest

from flan_jax.models.ops.rope import RopeScaling, apply_rope, frequencies, rope_cos_sin


def test_scores_depend_on_the_distance_alone():
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 1, 1, 1, 8)).astype(np.float32)

    def score(query, key):
        (a, b), (c, d) = (rope_cos_sin(np.array([[p]]), 8, 100.0) for p in (query, key))
        return float((apply_rope(q, a, b) * apply_rope(k, c, d)).sum())

    assert score(9, 4) == pytest.approx(score(25, 20), abs=1e-5)
    assert score(9, 4) != pytest.approx(score(9, 5), abs=1e-2)
    assert score(3, 3) == pytest.approx(float((q * k).sum()), abs=1e-5)


def test_halves_are_paired():
    x = np.array([1.0, 2.0, 3.0, 4.0], np.float32).reshape(1, 1, 1, 4)
    quarter = np.full((1, 1, 2), 0.0, np.float32), np.full((1, 1, 2), 1.0, np.float32)
    assert apply_rope(x, *quarter).ravel().tolist() == [-3.0, -4.0, 1.0, 2.0]


def test_linear_scaling_divides_and_llama3_only_what_is_slow():
    plain, _ = frequencies(64, 500_000.0)
    np.testing.assert_allclose(frequencies(64, 500_000.0, RopeScaling("linear", 4.0))[0], plain / 4, rtol=1e-6)
    scaled, factor = frequencies(64, 500_000.0, RopeScaling("llama3", 8.0, original_max_positions=8192))
    assert factor == 1.0
    turned = 8192 * plain / (2 * np.pi)  # over the original length
    np.testing.assert_allclose(scaled[turned > 4], plain[turned > 4], rtol=1e-6)
    np.testing.assert_allclose(scaled[turned < 1], plain[turned < 1] / 8, rtol=1e-6)
    between = (turned > 1) & (turned < 4)
    assert between.any()
    assert ((scaled[between] < plain[between]) & (scaled[between] > plain[between] / 8)).all()


def test_yarn_keeps_what_is_fast_and_scales_the_vectors():
    plain, _ = frequencies(64, 10_000.0)
    scaling = RopeScaling("yarn", 4.0, original_max_positions=4096)
    scaled, factor = frequencies(64, 10_000.0, scaling)
    assert scaled[0] == plain[0]
    assert scaled[-1] == pytest.approx(plain[-1] / 4, rel=1e-6)
    assert (np.diff(scaled) < 0).all()
    assert factor == pytest.approx(0.1 * np.log(4) + 1)
    assert frequencies(64, 10_000.0, RopeScaling("yarn", 4.0, attention_factor=1.5))[1] == 1.5
    cos, _ = rope_cos_sin(np.array([[0]]), 64, 10_000.0, scaling)
    np.testing.assert_allclose(cos, factor, rtol=1e-6)
