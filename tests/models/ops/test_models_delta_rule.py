"""Gated delta rule: chunks, steps, and the recurrence as it is written down; segments keep their states apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.models.ops.delta_rule import causal_conv, gated_delta_rule

ROWS, LENGTH, HEADS, KEY, VALUE = 2, 11, 3, 4, 5


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, ROWS, LENGTH, HEADS, KEY))
    v = rng.normal(size=(ROWS, LENGTH, HEADS, VALUE))
    g = -rng.uniform(0, 2, (ROWS, LENGTH, HEADS))
    beta = rng.uniform(0, 1, (ROWS, LENGTH, HEADS))
    segments = np.array([[1] * 11, [4, 1, 1, 1, 1, 2, 3, 3, 3, 0, 0]], np.int32)
    state = rng.normal(size=(ROWS, HEADS, KEY, VALUE))
    return q, k, v, g, beta, segments, state


def recurrence(q, k, v, g, beta, segments, state):
    """The rule, token by token, as the paper has it."""
    read = np.zeros_like(v)
    for row in range(ROWS):
        for head in range(HEADS):
            held, before = state[row, head].copy(), segments[row, 0]
            for t in range(LENGTH):
                if segments[row, t] != before:
                    held, before = np.zeros_like(held), segments[row, t]
                key, query = (x[row, t, head] / np.sqrt((x[row, t, head] ** 2).sum() + 1e-6) for x in (k, q))
                held *= np.exp(g[row, t, head])
                held += beta[row, t, head] * np.outer(key, v[row, t, head] - key @ held)
                read[row, t, head] = held.T @ query * KEY**-0.5
            state[row, head] = held
    return read, state


@pytest.mark.parametrize("chunk", [64, 4, 1])
def test_every_size_of_chunk_is_the_recurrence(drawn, chunk):
    arrays = [x.copy() for x in drawn]
    expected, last = recurrence(*arrays)
    found, state = jax.jit(gated_delta_rule, static_argnums=7)(*map(jnp.asarray, drawn), chunk)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(state, last, atol=1e-5)


def test_a_row_in_two_parts_is_the_row(drawn):
    q, k, v, g, beta, segments, state = map(jnp.asarray, drawn)
    ones = jnp.ones_like(segments)
    whole, last = gated_delta_rule(q, k, v, g, beta, ones, state)
    first, between = gated_delta_rule(*(x[:, :6] for x in (q, k, v, g, beta, ones)), state)
    second, end = gated_delta_rule(*(x[:, 6:] for x in (q, k, v, g, beta, ones)), between)
    np.testing.assert_allclose(jnp.concatenate([first, second], axis=1), whole, atol=1e-5)
    np.testing.assert_allclose(end, last, atol=1e-5)


def test_a_convolution_stays_in_its_segment():
    x = np.arange(1.0, 8.0)[None, :, None]
    taps, tail = np.array([[100.0], [10.0], [1.0]]), np.zeros((1, 2, 1))
    segments = np.array([[1, 1, 1, 2, 2, 2, 2]])
    out, after = causal_conv(jnp.asarray(x), jnp.asarray(taps), jnp.asarray(segments), jnp.asarray(tail))
    np.testing.assert_allclose(out[0, :, 0], jax.nn.silu(jnp.array([1.0, 12.0, 123.0, 4.0, 45.0, 456.0, 567.0])))
    assert after[0, :, 0].tolist() == [6.0, 7.0]
    out, after = causal_conv(jnp.asarray(x[:, :1]), jnp.asarray(taps), jnp.array([[1]]), jnp.array([[[8.0], [9.0]]]))
    np.testing.assert_allclose(out[0, 0, 0], jax.nn.silu(891.0))
    assert after[0, :, 0].tolist() == [9.0, 1.0]
