"""Rematerialization: what a layer saves for the backward pass and what it recomputes there."""

from collections.abc import Callable
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array

from flan_jax.errors import UserError
from flan_jax.models.ops.linear import PRODUCT

REMATS = ("none", "dots", "full", "offload")
"""
``none``: everything is saved. The fastest, where it fits.
``dots``: outputs of the layers' kernels are saved; what is cheap to compute, and attention, is recomputed.
``full``: only each layer's input is saved, and the layer is recomputed: a third more work.
``offload``: as ``full``, with the layers' inputs in the host's memory. For rows so long, or layers so
many, that one residual stream a layer is too much; it costs the way there and back.
"""

_STREAM = "residual_stream"


def check_remat(owner: str, remat: object) -> None:
    """Checks the value of a configuration's ``remat``; an unknown one is a UserError."""
    if remat not in REMATS or not isinstance(remat, str):
        raise UserError(f"{owner}: remat is {remat!r}; give one of {', '.join(map(repr, REMATS))}.")


def remat_scan_body(body: Callable[[Any, Any], Any], remat: str) -> Callable[[Any, Any], Any]:
    """Wraps the body of a scan over layers, ``body(x, of_layer) -> (x, y)``, with a remat policy.

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


def recompute(function: Callable[..., Array], *operands: Array) -> Array:
    """Applies an element-wise function that saves only its operands for the gradient.

    Automatic differentiation of an activation behind a gate keeps four arrays besides. For the body of a scan alone.
    """
    return jax.checkpoint(function, prevent_cse=False)(*operands)
