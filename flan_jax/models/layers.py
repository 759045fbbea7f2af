"""The pieces of a T5 layer: initialisers, norm, dropout, feed-forward.

Shapes: B rows of a batch, T query length, S key length, D model width, F feed-forward width,
H heads, K width of one head, V vocabulary, L layers, C buckets.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from flan_jax.models.config import T5Config
from flan_jax.models.linear import linear

AnyArray = Array | np.ndarray  # tokens, segment ids and positions may come straight from the feed
Key = PRNGKeyArray | Array  # typed keys, and the raw uint32 ones of jax.random.PRNGKey


@jax.custom_vjp
def relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """``max(x, 0)``, of which nothing but the result is kept for the gradient, as the product after it keeps it too.

    ``jax.nn.relu`` keeps where ``x`` was positive besides.
    """
    return jnp.maximum(x, 0)


def _relu_forward(x: Array) -> tuple[Array, Array]:
    y = relu(x)
    return y, y


def _relu_backward(y: Array, g: Array) -> tuple[Array]:
    return (jnp.where(y > 0, g, 0),)


relu.defvjp(_relu_forward, _relu_backward)

# T5's names for activations follow transformers: "gelu" behind a gate is the tanh approximation.
_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gated-gelu": lambda x: jax.nn.gelu(x, approximate=True),
    "gated-silu": jax.nn.silu,
    "relu": relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
}


def normal(rngs: nnx.Rngs, shape: tuple[int, ...], std: float) -> nnx.Param:
    """A float32 parameter drawn from a normal distribution with standard deviation ``std``."""
    return nnx.Param(std * jax.random.normal(rngs.params(), shape, jnp.float32))


def split_key(key: Key | None, count: int) -> list[Key] | list[None]:
    """``count`` keys out of one, or as many ``None`` where dropout is off."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def dropout(x: Float[Array, "B T ..."], rate: float, key: Key | None) -> Float[Array, "B T ..."]:
    """Zeroes a share ``rate`` of the features of each row and scales up the others; ``key=None`` changes nothing.

    One mask serves all positions of a row, as in T5's own training code (Mesh-TF T5 and T5X leave the
    length out of the noise shape), so the random bits cost next to nothing.
    """
    if key is None or rate == 0.0:
        return x
    keep = jax.random.bernoulli(key, 1.0 - rate, (x.shape[0], 1, *x.shape[2:]))
    return x * (keep / (1.0 - rate)).astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def rms_norm(x: Float[Array, "... W"], scale_W: Float[Array, "W"], epsilon: float) -> Float[Array, "... W"]:
    """``x / sqrt(mean(x ** 2) + epsilon) * scale`` over the last axis, computed in float32, in the type of ``x``.

    Only ``x`` and a number a token are kept for the gradient: with n = x / rms(x) and the gradient g of the result,
    ``dscale = sum(g * n)`` and ``dx = (g * scale - n * mean(g * scale * n)) / rms(x)``. Automatic differentiation
    keeps two arrays more, as large as ``x``.
    """
    return _rms_norm_forward(x, scale_W, epsilon)[0]


def _rms_norm_forward(x: Array, scale_W: Array, epsilon: float) -> tuple[Array, tuple[Array, Array, Array]]:
    wide = x.astype(jnp.float32)
    inverse = jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + epsilon)
    return (wide * inverse * scale_W).astype(x.dtype), (x, scale_W, inverse)


def _rms_norm_backward(epsilon: float, kept: tuple[Array, Array, Array], g: Array) -> tuple[Array, Array]:
    x, scale_W, inverse = kept
    normed, g = x.astype(jnp.float32) * inverse, g.astype(jnp.float32)
    dscale_W = jnp.sum(g * normed, axis=tuple(range(x.ndim - 1)))
    g = g * scale_W
    dx = (g - normed * jnp.mean(g * normed, axis=-1, keepdims=True)) * inverse
    return dx.astype(x.dtype), dscale_W.astype(scale_W.dtype)


rms_norm.defvjp(_rms_norm_forward, _rms_norm_backward)


def recomputed(function: Callable[..., Array], *operands: Array) -> Array:
    """What an element-wise function gives, of which nothing but the operands is kept for the gradient.

    Automatic differentiation of an activation behind a gate keeps four arrays besides. For the body of a scan alone.
    """
    return jax.checkpoint(function, prevent_cse=False)(*operands)


class RMSNorm(nnx.Module):
    """Scales by the root mean square: no mean is subtracted, no bias is added (Zhang and Sennrich 2019)."""

    def __init__(self, config: T5Config) -> None:
        self.scale = nnx.Param(jnp.full((config.d_model,), config.initializer_factor, jnp.float32))
        self.epsilon = config.layer_norm_epsilon

    def __call__(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Returns ``x / rms(x) * scale``, computed in float32, in the type of ``x``."""
        return rms_norm(x_BTD, self.scale[...], self.epsilon)


class FeedForward(nnx.Module):
    """Norm, one or two projections up, an activation, a projection down.

    Plain: ``wo(act(wi(x)))``. Gated (Shazeer 2020): ``wo(act(wi_0(x)) * wi_1(x))``.
    """

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs) -> None:
        d_model, d_ff, factor = config.d_model, config.d_ff, config.initializer_factor
        self.config = config
        self.norm = RMSNorm(config)
        if config.gated:
            self.wi_0 = normal(rngs, (d_model, d_ff), factor * d_model**-0.5)
            self.wi_1 = normal(rngs, (d_model, d_ff), factor * d_model**-0.5)
        else:
            self.wi = normal(rngs, (d_model, d_ff), factor * d_model**-0.5)
        self.wo = normal(rngs, (d_ff, d_model), factor * d_ff**-0.5)

    def __call__(self, x_BTD: Float[Array, "B T D"], key: Key | None = None) -> Float[Array, "B T D"]:
        """Returns what the layer adds to the residual stream."""
        inner_key, outer_key = split_key(key, 2)
        activation, rate = _ACTIVATIONS[self.config.feed_forward], self.config.dropout_rate
        x_BTD = self.norm(x_BTD)
        if self.config.gated:
            gate_BTF, up_BTF = linear(x_BTD, self.wi_0), linear(x_BTD, self.wi_1)
            h_BTF = recomputed(lambda gate, up: activation(gate) * up, gate_BTF, up_BTF)
        else:
            h_BTF = activation(linear(x_BTD, self.wi))
        return dropout(linear(dropout(h_BTF, rate, inner_key), self.wo), rate, outer_key)
