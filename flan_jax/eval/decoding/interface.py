"""What decoding asks of a model and its cache, for encoder-decoders and decoders alike.

A model has ``decode_step(cache, tokens_R) -> (logits_RV, cache)``. Its cache is a NamedTuple of arrays
with a property ``beam_axes``: for each field that a row writes for itself, the axis of the rows.
Beams repeat and reorder these fields only. A field that is not named, such as the keys and values of
an encoded input, stays one a prompt, and ``decode_step`` reads it for all beams of the prompt.

Shapes: B prompts, S their length, R rows of the cache (B times the beams), V vocabulary.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from flan_jax.eval.scoring import segments


class Begun(NamedTuple):
    """A model that has read its prompts.

    Attributes:
        cache: what it remembers, a row a prompt.
        last: the token to read next.
        logits: the logits of the first token to write where reading the prompt gives them; else
            ``None``, and reading ``last`` does.
    """

    cache: Any
    last: Int[Array, "B"]
    logits: Float[Array, "B V"] | None


def begin(model: Any, tokens_BS: Int[Array, "B S"], lengths_B: Int[Array, "B"], max_length: int) -> Begun:
    """Reads the prompts: through the encoder, once, or as the beginning of what a decoder writes.

    Args:
        model: with ``prefill(tokens_BS, lengths_B, max_length) -> (logits_BV, cache)``, or with ``encode``
            and ``init_cache``.
        tokens_BS: prompts, one a row, padding behind.
        lengths_B: their lengths.
        max_length: the most tokens that are written.
    """
    if hasattr(model, "prefill"):
        # A row of length 0 only fills the shape, but attention needs something to look at.
        logits_BV, cache = model.prefill(tokens_BS, jnp.maximum(lengths_B, 1), max_length)
        return Begun(cache, jnp.zeros_like(lengths_B), logits_BV)
    segment_ids_BS = segments(lengths_B, tokens_BS.shape[1])
    cache = model.init_cache(model.encode(tokens_BS, segment_ids_BS), segment_ids_BS, max_length)
    return Begun(cache, jnp.full_like(lengths_B, model.config.decoder_start_id), None)


def repeat_rows(cache: Any, times: int) -> Any:
    """The cache with ``times`` equal rows side by side for each, in the fields that rows write for themselves."""
    if times == 1:
        return cache
    return cache._replace(
        **{
            name: jax.tree.map(lambda leaf, axis=axis: jnp.repeat(leaf, times, axis=axis), getattr(cache, name))
            for name, axis in cache.beam_axes.items()
        }
    )


def take_rows(cache: Any, rows_R: Int[Array, "R"]) -> Any:
    """The cache in which row r goes on from what was row ``rows_R[r]``; nothing that rows share is copied."""
    return cache._replace(
        **{
            name: jax.tree.map(
                lambda leaf, axis=axis: jnp.take(leaf, rows_R, axis=axis, mode="clip"),
                getattr(cache, name),
            )
            for name, axis in cache.beam_axes.items()
        }
    )
