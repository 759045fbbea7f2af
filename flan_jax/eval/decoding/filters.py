"""Which tokens may be written next, as logits: -inf for those that may not.

Shapes: R rows, V vocabulary.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from flan_jax.eval.decoding.config import DecodingConfig


def end_ids(config: Any) -> tuple[int, ...]:
    """The tokens that end a text: the one that training writes, and those that end what is generated too.

    Args:
        config: of the model, with ``eos_id`` and ``stop_ids``.
    """
    return tuple(dict.fromkeys((config.eos_id, *config.stop_ids)))


def is_end(tokens: Int[Array, "*shape"], ends: tuple[int, ...]) -> Bool[Array, "*shape"]:
    """Where one of ``ends`` stands."""
    return (tokens[..., None] == jnp.array(ends)).any(axis=-1)


def allowed(
    logits_RV: Float[Array, "R V"],
    step: Int[Array, ""],
    *,
    ends: tuple[int, ...],
    min_length: int,
    vocabulary_size: int | None,
) -> Float[Array, "R V"]:
    """The logits of the vocabulary's own tokens, without ``ends`` before ``min_length`` tokens are written."""
    logits_RV = logits_RV[:, :vocabulary_size]
    if not min_length:
        return logits_RV
    early = is_end(jnp.arange(logits_RV.shape[-1]), ends) & (step < min_length)
    return jnp.where(early, -jnp.inf, logits_RV)


def drawn_from(logits_RV: Float[Array, "R V"], decoding: DecodingConfig) -> Float[Array, "R V"]:
    """The logits that ``sample`` draws from: temperature, then ``top_k``, then ``top_p``.

    Tokens exactly as likely as the last that is kept are kept too.
    """
    logits_RV = logits_RV / decoding.temperature
    vocabulary = logits_RV.shape[-1]
    top_k = min(decoding.top_k or vocabulary, vocabulary)
    if top_k == vocabulary and decoding.top_p == 1:
        return logits_RV
    # Likeliest first. What top_k leaves is all that top_p needs to see: no sort of the whole vocabulary then.
    best_RK, _ = jax.lax.top_k(logits_RV, top_k)
    if decoding.top_p < 1:
        share_RK = jax.nn.softmax(best_RK, axis=-1)
        before_RK = jnp.cumsum(share_RK, axis=-1) - share_RK
        # The first is kept whatever rounding does.
        kept_RK = (before_RK < decoding.top_p).at[:, 0].set(True)
        best_RK = jnp.where(kept_RK, best_RK, jnp.inf)
    least_R1 = best_RK.min(axis=-1, keepdims=True)
    return jnp.where(logits_RV < least_R1, -jnp.inf, logits_RV)
