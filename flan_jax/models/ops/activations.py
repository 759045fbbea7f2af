"""Activation functions, one table for all models."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_vjp
def relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Computes ``max(x, 0)`` and saves only the result for the gradient, which the product after it saves too.

    ``jax.nn.relu`` additionally saves where ``x`` was positive.
    """
    return jnp.maximum(x, 0)


def _relu_forward(x: Array) -> tuple[Array, Array]:
    y = relu(x)
    return y, y


def _relu_backward(y: Array, g: Array) -> tuple[Array]:
    return (jnp.where(y > 0, g, 0),)


relu.defvjp(_relu_forward, _relu_backward)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": relu,
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
}
"""Name → function. ``gelu`` is the exact function, ``gelu_tanh`` its approximation (Hendrycks and Gimpel 2016)."""
MLP_ACTIVATIONS = ("gated-silu", "gated-gelu", "gated-gelu_tanh", "silu", "gelu", "gelu_tanh", "relu")
"""Values of a configuration's ``mlp_activation``; a gated one multiplies an activated and a linear projection."""


def activation_of(mlp_activation: str) -> Callable[[Array], Array]:
    """Returns the function in one of ``MLP_ACTIVATIONS``."""
    return ACTIVATIONS[mlp_activation.removeprefix("gated-")]
