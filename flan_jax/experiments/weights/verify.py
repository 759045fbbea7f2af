"""Compares two sets of weights by what they make of a model: its logits on a few prompts."""

from typing import Any

import jax
import numpy as np

from flan_jax.models.build import ModelConfig, abstract_model, apply

CHECK_LOGITS_UP_TO = 400_000_000
"""Parameters of the largest model that is run to compare it; of a larger one the tensors are compared, as two
copies and the logits may not fit into memory."""
TOLERANCE = 1e-6
_PROMPTS, _LENGTH, _TARGETS = 3, 12, 6


def largest_difference(config: ModelConfig, ours: Any, theirs: Any) -> float:
    """Computes the largest absolute difference of the logits of two sets of parameters on prompts of random tokens.

    Returns:
        As ``value_difference``.
    """
    graphdef, _ = abstract_model(config)
    batch = _prompts(config)
    run = jax.jit(lambda params: apply(graphdef, params, batch))
    return value_difference(np.asarray(run(ours)), np.asarray(run(theirs)))


def value_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Computes the largest absolute difference of two arrays.

    Returns:
        It; 0 where they are equal, what is no number being equal to itself, and infinity where only one has such.
    """
    # The comparison that knows NaN copies both arrays, so it is left to those that have some.
    if np.array_equal(ours, theirs) or np.array_equal(ours, theirs, equal_nan=True):
        return 0.0
    worst = float(np.abs(ours.astype(np.float32) - theirs.astype(np.float32)).max())
    return worst if np.isfinite(worst) else float("inf")


def _prompts(config: ModelConfig) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)

    def tokens(length: int) -> np.ndarray:
        return rng.integers(0, config.vocab_size, (_PROMPTS, length), dtype=np.int32)

    if config.decoder_only:
        return {"decoder_input_tokens": tokens(min(_LENGTH, config.context_length or _LENGTH))}
    return {"encoder_input_tokens": tokens(_LENGTH), "decoder_input_tokens": tokens(_TARGETS)}
