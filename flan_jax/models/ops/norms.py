"""RMS norm with a backward pass that saves little memory."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def rms_norm(x: Float[Array, "... W"], scale_W: Float[Array, "W"], epsilon: float) -> Float[Array, "... W"]:
    """Computes ``x / sqrt(mean(x ** 2) + epsilon) * scale`` over the last axis, computed in float32, in the type of ``x``.

    Only ``x`` and a number a token are kept for the gradient: with n = x / rms(x) and the gradient g of the result,
    ``dscale = sum(g * n)`` and ``dx = (g * scale - n * mean(g * scale * n)) / rms(x)``. Automatic differentiation
    keeps two arrays more, as large as ``x``.
    """
    return _rms_norm_forward(x, scale_W, epsilon)[0]


def _rms_norm_forward(x: Array, scale_W: Array, epsilon: float) -> tuple[Array, tuple[Array, Array, Array]]:
    wide = x.astype(jnp.float32)
    inverse = jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + epsilon)
    return (wide * inverse * scale_W).astype(x.dtype), (x, scale_W, inverse)


def _rms_norm_backward(epsilon: float, saved: tuple[Array, Array, Array], g: Array) -> tuple[Array, Array]:
    x, scale_W, inverse = saved
    normed, g = x.astype(jnp.float32) * inverse, g.astype(jnp.float32)
    dscale_W = jnp.sum(g * normed, axis=tuple(range(x.ndim - 1)))
    g = g * scale_W
    dx = (g - normed * jnp.mean(g * normed, axis=-1, keepdims=True)) * inverse
    return dx.astype(x.dtype), dscale_W.astype(scale_W.dtype)


rms_norm.defvjp(_rms_norm_forward, _rms_norm_backward)
