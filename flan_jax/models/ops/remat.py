"""What of a layer is kept for the backward pass, and what is computed again there."""

from collections.abc import Callable
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array

from flan_jax.errors import UserError
from flan_jax.models.ops.linear import PRODUCT

REMATS = ("none", "dots", "full", "offload")
"""
``none``: everything is kept. The fastest, where it fits.
``dots``: what comes out of the layers' kernels is kept; what is cheap to compute, and attention, is computed again.
``full``: only what goes into each layer is kept, and the layer is computed again: a third more work.
``offload``: as ``full``, and what goes into each layer waits in the host's memory. For rows so long, or layers so
many, that one residual stream a layer is too much; it costs the way there and back.
"""

_STREAM = "residual_stream"


def checked_remat(owner: str, remat: object) -> None:
    """Raises a UserError where there is no such policy."""
    if remat not in REMATS or not isinstance(remat, str):
        raise UserError(f"{owner}: remat is {remat!r}; give one of {', '.join(map(repr, REMATS))}.")


def rematerialized(body: Callable[[Any, Any], Any], remat: str) -> Callable[[Any, Any], Any]:
    """The body of a scan over layers, ``body(x, of_layer) -> (x, y)``, that keeps what the policy says.

    Values and gradients are the same under every policy.

    Args:
        body: of one layer.
        remat: one of ``REMATS``.
    """
    if remat == "none":
        return body
    if remat == "full":
        return jax.checkpoint(body)
    policies = jax.checkpoint_policies
    if remat == "dots":
        # By name, as a product with a gradient of its own is no dot to JAX's own policies.
        return jax.checkpoint(body, policy=policies.save_only_these_names(PRODUCT))
    policy = policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=[_STREAM],
        offload_src="device",
        offload_dst="pinned_host",
    )

    def named(x: Any, of_layer: Any) -> Any:
        return body(checkpoint_name(x, _STREAM), of_layer)

    return jax.checkpoint(named, policy=policy)


def recomputed(function: Callable[..., Array], *operands: Array) -> Array:
    """What an element-wise function gives, of which nothing but the operands is kept for the gradient.

    Automatic differentiation of an activation behind a gate keeps four arrays besides. For the body of a scan alone.
    """
    return jax.checkpoint(function, prevent_cse=False)(*operands)
