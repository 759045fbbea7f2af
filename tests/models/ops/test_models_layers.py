"""The pieces of a layer: values, gradients, and what is kept for them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.ad_checkpoint import print_saved_residuals

from flan_jax.models import build
from flan_jax.models.ops.activations import relu
from flan_jax.models.ops.linear import product
from flan_jax.models.ops.norms import rms_norm
from flan_jax.testing.models import tiny_decoder, tiny_t5


def by_the_book(x, scale, epsilon):
    wide = x.astype(jnp.float32)
    return (wide / jnp.sqrt(jnp.mean(wide**2, axis=-1, keepdims=True) + epsilon) * scale).astype(x.dtype)


def value_and_gradient(norm):
    return jax.jit(jax.value_and_grad(lambda x, scale, weight: jnp.sum(weight * norm(x, scale, 1e-6)), (0, 1)))


of_ours, of_formula = value_and_gradient(rms_norm), value_and_gradient(by_the_book)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), width=st.sampled_from([1, 7]), size=st.sampled_from([1e-4, 1.0, 1e3]))
def test_the_gradient_of_a_norm_is_that_of_its_formula(seed, width, size):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(size * rng.normal(size=(3, 2, width)), jnp.float32)
    scale, weight = jnp.asarray(rng.normal(size=width), jnp.float32), jnp.asarray(rng.normal(size=x.shape), jnp.float32)

    (ours, (dx, dscale)), (exact, (exact_dx, exact_dscale)) = (both(x, scale, weight) for both in (of_ours, of_formula))
    np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(dx * size, exact_dx * size, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dscale, exact_dscale, rtol=1e-4, atol=1e-4)


def test_a_norm_of_half_precision_computes_in_float32():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 300)), jnp.bfloat16)
    scale = jnp.ones(300, jnp.float32)
    dx, dscale = jax.grad(lambda x, scale: jnp.sum(rms_norm(x, scale, 0.0).astype(jnp.float32)), (0, 1))(x, scale)
    assert (dx.dtype, dscale.dtype) == (jnp.bfloat16, jnp.float32)
    exact = by_the_book(x.astype(jnp.float32), scale, 0.0).sum(0)  # summed in bfloat16 it is off by a hundredth
    np.testing.assert_allclose(dscale, exact, atol=1e-4)


def test_a_relu_is_told_from_its_result():
    x = jnp.array([-2.0, -0.0, 0.0, 3.0])
    np.testing.assert_array_equal(relu(x), jax.nn.relu(x))
    weight = jnp.array([1.0, 2.0, 4.0, 8.0])
    gradients = [jax.grad(lambda x, f=f: jnp.sum(weight * f(x)))(x) for f in (relu, jax.nn.relu)]
    np.testing.assert_array_equal(*gradients)
    _, back = jax.vjp(relu, x)
    assert [kept.dtype for kept in jax.tree.leaves(back)] == [jnp.float32]  # the result, and no mask


def test_the_gradient_of_a_kernel_is_summed_in_float32():
    rng = np.random.default_rng(0)
    x, g = (jnp.asarray(rng.normal(size=(4, 64, 3)), jnp.bfloat16) for _ in range(2))
    found = jax.vjp(lambda kernel: product(x, kernel), jnp.ones((3, 3), jnp.float32))[1](g)[0]
    assert found.dtype == jnp.float32
    exact = np.einsum("btm,btn->mn", np.asarray(x, np.float32), np.asarray(g, np.float32))
    np.testing.assert_allclose(found, exact, atol=1e-4)  # in bfloat16 it is off by a twentieth


def kept_by_layers(config, batch, capsys):
    """How many arrays of each size a stack keeps for the gradient, a layer each: sizes without the layers."""
    graphdef, params = build.abstract_model(config)
    print_saved_residuals(lambda params: build.merge(graphdef, params).hidden(batch).sum(), params)
    lines = [line for line in capsys.readouterr().out.splitlines() if "output of scan" in line]
    shapes = [tuple(map(int, re.search(r"\[([\d,]*)\]", line)[1].split(","))) for line in lines]
    return [shape[1:] for shape in shapes if shape[0] == config.num_layers]


@pytest.mark.parametrize("gated", [True, False])
def test_a_layer_keeps_what_goes_into_its_products_and_norms(gated, capsys):
    config = tiny_decoder(mlp_activation="gated-silu" if gated else "gelu_tanh", num_layers=5)
    batch = {"decoder_input_tokens": np.ones((2, 9), np.int32)}
    kept = kept_by_layers(config, batch, capsys)
    # Twice the stream and the norm of it, and what the heads say, which has another width here.
    assert kept.count((2, 9, config.d_model)) == 4
    assert kept.count((2, 9, config.d_heads)) == 1
    # What comes out of the kernels, and what goes into the last.
    assert kept.count((2, 9, config.d_ff)) == (3 if gated else 2)


def test_pieces_of_a_causal_row_keep_keys_and_values_once(capsys):
    config = tiny_decoder(num_layers=5, max_positions=256)
    kept = kept_by_layers(config, {"decoder_input_tokens": np.ones((2, 256), np.int32)}, capsys)
    assert sum(shape[-1] == config.d_head and shape[-2] == 256 for shape in kept) == 3
    assert not [shape for shape in kept if shape[-1] == config.d_head and shape[-2] != 256]


def test_a_layer_of_t5_keeps_two_arrays_a_norm(capsys):
    config = tiny_t5(num_decoder_layers=5, num_encoder_layers=4)
    batch = {"encoder_input_tokens": np.ones((2, 9), np.int32), "decoder_input_tokens": np.ones((2, 7), np.int32)}
    graphdef, params = build.abstract_model(config)
    print_saved_residuals(lambda params: build.merge(graphdef, params).hidden(batch).sum(), params)
    printed = capsys.readouterr().out
    assert printed.count(f"[4,2,9,{config.d_model}]") == 4
    assert printed.count(f"[5,2,7,{config.d_model}]") == 6
