"""Checks for diverged weights, before they are saved, exported or used.

A step's loss and gradient are of the weights before its update, so a step whose update destroys them looks well. That
is why a state is looked at itself when it is saved (one reduction on the devices), and why the checkpoint of the step
before one whose loss or gradient is not finite is withdrawn (``flan_jax.train.loop``): its weights were the cause.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from flan_jax.errors import UserError
from flan_jax.train.state import TrainState

TOO_LARGE = 1e6
"""No trained weight is near it (published models stay below a few hundreds), and no update that is one leads there."""


class DivergedError(UserError):
    """Training diverged.

    Args:
      step: whose loss, gradient or update shows it.
      what: shows it, in a few words.
      kept: a sentence on the checkpoints that are there.
      bad: the step whose state is diverged: by default the one before, whose loss or gradient it was.
        At 0 it is what training began with.

    Attributes:
      step, what, kept, bad: as given.
    """

    def __init__(self, step: int, what: str, kept: str = "", *, bad: int | None = None) -> None:
        self.step, self.what, self.kept, self.bad = step, what, kept, step - 1 if bad is None else bad
        remedy = (
            "No update led there: look at the weights that it began with (INITIAL_CHECKPOINT_PATH) and at ACTIVATION_DTYPE."
            if self.bad == 0
            else "Lower the learning rate, warm up longer or set clip_norm."
        )
        super().__init__(f"Training diverged at step {step}: {what}. {remedy}{' ' + kept if kept else ''}")


def not_finite(tree: Any) -> str | None:
    """Names the first array of a tree that holds an infinite number or none at all, with their count; None if none does."""
    return _first_not_finite(tree, largest(tree))


def _first_not_finite(tree: Any, sizes: Mapping[str, float]) -> str | None:
    for name, worst in sizes.items():
        if not math.isfinite(worst):
            leaf = _floats(tree)[name]
            count = int(jnp.sum(~jnp.isfinite(leaf)))
            return f"{count:,} of the {leaf.size:,} numbers of {name} are not finite"
    return None


def destroyed(state: TrainState) -> str | None:
    """Returns the sign that a step's update destroyed a state, in a few words; None where there is none."""
    tree = {"params": state.params, "opt_state": state.opt_state}
    sizes = largest(tree)
    wrong = _first_not_finite(tree, sizes)
    if wrong is not None:
        return f"after its update {wrong}"
    params = [(name, size) for name, size in sizes.items() if name.startswith("params/")]
    name, worst = max(params, key=lambda item: item[1], default=("", 0.0))
    return f"after its update {name} holds a number of size {worst:.3g}" if worst > TOO_LARGE else None


def largest(tree: Any) -> dict[str, float]:
    """Name → the largest absolute value of each array of floating-point numbers; infinite where one is not finite."""
    floats = _floats(tree)
    if not floats:
        return {}
    return dict(zip(floats, np.asarray(_largest(list(floats.values()))).tolist(), strict=True))


@jax.jit
def _largest(leaves: list[Array]) -> Float[Array, " leaves"]:
    # A maximum is not trusted with NaN: XLA's of the CPU passes it over.
    sizes = [jnp.where(jnp.isfinite(leaf), jnp.abs(leaf), jnp.inf) for leaf in leaves]
    return jnp.stack([jnp.max(size, initial=0).astype(jnp.float32) for size in sizes])


def _floats(tree: Any) -> Mapping[str, Any]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree.leaves_with_path(tree)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    }
