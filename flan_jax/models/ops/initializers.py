"""Random initial values of parameters."""

import jax
import jax.numpy as jnp
from flax import nnx


def normal(rngs: nnx.Rngs, shape: tuple[int, ...], std: float) -> nnx.Param:
    """Creates a float32 parameter drawn from a normal distribution with standard deviation ``std``."""
    return nnx.Param(std * jax.random.normal(rngs.params(), shape, jnp.float32))
