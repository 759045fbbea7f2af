"""Kernels in 8 and 4 bits: the published table, the formulas in NumPy, their errors, and what a product with them keeps."""

import functools
import statistics

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.models.ops.linear import LowRank, product
from flan_jax.models.ops.quantized import BLOCK, NF4, QUANTIZED, dequantize, quantize, whole_shape

# Appendix E of arXiv:2305.14314.
PUBLISHED = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip


def test_the_table_is_the_published_one_and_made_of_quantiles():
    assert list(NF4) == PUBLISHED
    # Eight quantiles above 0 and seven below, at equal steps of probability, the outermost 1 and -1; and 0 itself.
    normal, offset = statistics.NormalDist(), 0.9677083
    above = [normal.inv_cdf(p) for p in np.linspace(offset, 0.5, 9)[:-1]]
    below = [-normal.inv_cdf(p) for p in np.linspace(offset, 0.5, 8)[:-1]]
    values = np.array(sorted([*above, 0.0, *below])) / max(above)
    np.testing.assert_allclose(NF4, values, atol=1e-6)


def numpy_nf4(kernel):
    """What bitsandbytes computes of ``kernel.T``, block by block: scales and the numbers of the nearest codes."""
    table = np.asarray(NF4, np.float32)
    values, scales = np.empty_like(kernel), []
    for output in range(kernel.shape[1]):
        for start in range(0, kernel.shape[0], BLOCK):
            block = kernel[start : start + BLOCK, output]
            largest = np.abs(block).max()
            nearest = np.abs(block[:, None] / (largest or 1) - table).argmin(axis=1)
            values[start : start + BLOCK, output] = table[nearest] * largest
            scales.append(largest)
    return values, np.reshape(scales, (kernel.shape[1], -1)).T


@functools.partial(jax.jit, static_argnums=1)  # one program for each shape, not one for each operation
def there_and_back(kernel, format):
    found = quantize(kernel, format)
    return found, dequantize(found)


@settings(max_examples=10)
@given(inputs=st.sampled_from([2, 16, 64, 96, 130, 192]), outputs=st.integers(1, 5), seed=st.integers(0, 99))
def test_nf4_is_the_formula_and_within_half_a_gap_of_the_number(inputs, outputs, seed):
    kernel = np.random.default_rng(seed).normal(size=(inputs, outputs)).astype(np.float32)
    kernel[:, 0] *= 1e-3
    found, numbers = there_and_back(kernel, "nf4")
    values, scales = numpy_nf4(kernel)
    assert found.codes.dtype == np.uint8
    assert found.codes.shape == (inputs // 2, outputs)
    np.testing.assert_array_equal(found.scale, scales)
    np.testing.assert_allclose(numbers, values, rtol=1e-6)
    # The widest gap of the table is that from -1 to its neighbor.
    bound = np.repeat(scales, BLOCK, axis=0)[:inputs] * (NF4[1] - NF4[0]) / 2
    assert (np.abs(numbers - kernel) <= bound * (1 + 1e-6)).all()


@settings(max_examples=10)
@given(inputs=st.integers(1, 130), outputs=st.integers(1, 5), seed=st.integers(0, 99))
def test_int8_is_the_formula_and_within_half_a_step_of_the_number(inputs, outputs, seed):
    kernel = np.random.default_rng(seed).normal(size=(inputs, outputs)).astype(np.float32)
    found, numbers = there_and_back(kernel, "int8")
    scale = np.abs(kernel).max(axis=0, keepdims=True) / np.float32(127)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-6)
    assert np.abs(found.codes - np.round(kernel / scale)).max() <= 1  # a tie may fall to either side
    assert (np.abs(numbers - kernel) <= scale / 2 * (1 + 1e-5)).all()


@pytest.mark.parametrize("format", QUANTIZED)
def test_stacked_layers_zeros_and_numbers_that_are_none(format):
    kernel = np.random.default_rng(0).normal(size=(3, 96, 4)).astype(np.float32)
    kernel[0, :, 1] = 0
    found = quantize(jnp.asarray(kernel), format)
    assert whole_shape(found) == kernel.shape
    for layer in range(3):
        alone = quantize(jnp.asarray(kernel[layer]), format)
        np.testing.assert_array_equal(dequantize(found)[layer], dequantize(alone))
    np.testing.assert_array_equal(dequantize(found)[0, :, 1], 0)
    kernel[1, 5, 2] = np.nan
    kernel[2, 5, 3] = np.inf
    scale = np.asarray(quantize(jnp.asarray(kernel), format).scale)
    assert [tuple(map(int, index)) for index in np.argwhere(~np.isfinite(scale))] == [(1, 0, 2), (2, 0, 3)]


def test_codes_that_share_a_byte_need_an_even_number():
    with pytest.raises(UserError, match="A kernel of 5 inputs cannot be quantized as nf4"):
        quantize(jnp.zeros((5, 2)), "nf4")


@pytest.mark.parametrize("format", QUANTIZED)
def test_a_product_has_the_gradient_of_its_numbers_and_keeps_none_of_them(format):
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(3, 256)), jnp.float32)

    def loss(x, kernels, a):
        def body(x, layer):
            kernel, a = layer
            low = LowRank(kernel, a, jnp.ones((2, 256)), 0.1)
            return jnp.tanh(product(x, low.kernel) + low.scale * product(product(x, low.a), low.b)) * 0.5, None

        return jnp.sum(jax.lax.scan(body, x, (kernels, a))[0])

    def measured(layers):
        kernels = quantize(jnp.asarray(rng.normal(size=(layers, 256, 256)), jnp.float32), format)
        a = jnp.asarray(rng.normal(size=(layers, 256, 2)), jnp.float32)
        gradient = jax.jit(jax.grad(loss, argnums=(0, 2))).lower(x, kernels, a).compile()
        expected = jax.jit(jax.grad(loss, argnums=(0, 2)))(x, dequantize(kernels), a)
        for one, other in zip(gradient(x, kernels, a), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        return gradient.memory_analysis().temp_size_in_bytes

    few, many = measured(2), measured(10)
    # Eight layers more need less than one layer's numbers more.
    assert many - few < 256 * 256 * 4
