"""Logits processing: -inf for tokens that may not be written next, penalties, temperature, top-k and top-p.

Shapes: R rows, V vocabulary.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from flan_jax.eval.decoding.config import DecodingConfig


def end_ids(config: Any) -> tuple[int, ...]:
    """Returns the ids that end a text: the EOS that training writes, and those that end what is generated too.

    Args:
        config: of the model, with ``eos_id`` and ``stop_ids``.
    """
    return tuple(dict.fromkeys((config.eos_id, *config.stop_ids)))


def is_end(tokens: Int[Array, "*shape"], ends: tuple[int, ...]) -> Bool[Array, "*shape"]:
    """Tells which tokens are one of ``ends``."""
    return (tokens[..., None] == jnp.array(ends)).any(axis=-1)


def prompt_tokens_seen(
    tokens_BS: Int[Array, "B S"], lengths_B: Int[Array, "B"], config: Any, vocabulary: int
) -> Bool[Array, "B V"]:
    """Marks the tokens in the text before the first is written: a decoder's prompt, an encoder-decoder's start token.

    Args:
        tokens_BS: prompts, one a row.
        lengths_B: their lengths.
        config: of the model.
        vocabulary: V, ids of the embedding table.
    """
    rows_B = jnp.arange(tokens_BS.shape[0])
    none_BV = jnp.zeros((tokens_BS.shape[0], vocabulary), bool)
    if not config.decoder_only:
        return none_BV.at[:, config.decoder_start_id].set(True)
    starts_BS = (jnp.arange(tokens_BS.shape[1]) == 0) & (tokens_BS == 0)
    read_BS = jnp.arange(tokens_BS.shape[1]) < lengths_B[:, None]
    if not config.reads_start:
        read_BS &= ~starts_BS
    tokens_BS = jnp.where(starts_BS, config.decoder_start_id, tokens_BS)
    return none_BV.at[rows_B[:, None], jnp.where(read_BS, tokens_BS, vocabulary)].set(True, mode="drop")


def mark_seen(seen_RV: Bool[Array, "R V"] | None, tokens_R: Int[Array, "R"]) -> Bool[Array, "R V"] | None:
    """Adds the tokens written to those in the text; ``None`` stays ``None``: no penalty reads it."""
    return None if seen_RV is None else seen_RV.at[jnp.arange(tokens_R.shape[0]), tokens_R].set(True)


def penalize_repetition(
    logits_RV: Float[Array, "R V"], seen_RV: Bool[Array, "R V"] | None, penalty: float
) -> Float[Array, "R V"]:
    """Applies the repetition penalty (Keskar et al. 2019, arXiv:1909.05858, as transformers has it)."""
    if seen_RV is None:
        return logits_RV
    return jnp.where(seen_RV, jnp.where(logits_RV < 0, logits_RV * penalty, logits_RV / penalty), logits_RV)


def mask_disallowed(
    logits_RV: Float[Array, "R V"],
    step: Int[Array, ""],
    *,
    ends: tuple[int, ...],
    min_length: int,
    vocabulary_size: int | None,
) -> Float[Array, "R V"]:
    """Cuts logits to the vocabulary's own tokens, and masks ``ends`` until ``min_length`` tokens are written."""
    logits_RV = logits_RV[:, :vocabulary_size]
    if not min_length:
        return logits_RV
    early = is_end(jnp.arange(logits_RV.shape[-1]), ends) & (step < min_length)
    return jnp.where(early, -jnp.inf, logits_RV)


def sampling_logits(logits_RV: Float[Array, "R V"], decoding: DecodingConfig) -> Float[Array, "R V"]:
    """Applies temperature, then ``top_k``, then ``top_p``: the logits that ``sample`` draws from.

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
