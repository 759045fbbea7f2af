"""Prefill and decode state: what scoring and decoding ask of a model, for encoder-decoders and decoders alike.

A model has ``decode_step(cache, tokens_R) -> (logits_RV, cache)``. Its cache is a NamedTuple of arrays
with a property ``beam_axes``: for each field that a row writes for itself, the axis of the rows.
Beams repeat and reorder these fields only. A field that is not named, such as the keys and values of
an encoded input, stays one a prompt, and ``decode_step`` reads it for all beams of the prompt.

A prompt is what its inputs are in the rows of training: with ``config.prompt_start`` in front of them.

Shapes: B prompts, S their length, R rows of the cache (B times the beams), P (prompt, target) pairs, T
length of targets, V vocabulary.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def segments(lengths_B: Int[Array, "B"], length: int) -> Int[Array, "B S"]:
    """Returns the segment ids of rows that hold one example each: 1 up to its length, 0 behind.

    They follow from lengths and not from the padding id, which may also be a token like any other.
    """
    return (jnp.arange(length) < lengths_B[:, None]).astype(jnp.int32)


class Context(NamedTuple):
    """Prefilled prompts, for any number of targets.

    Attributes:
        memory: of the model: a decoder's key-value cache, or an encoder's hidden states and their segment ids.
        logits: those of a target's first token where reading the prompt gives them; else ``None``.
    """

    memory: Any
    logits: Float[Array, "B V"] | None


def prefill(model: Any, tokens_BS: Int[Array, "B S"], lengths_B: Int[Array, "B"], longest: int) -> Context:
    """Runs the prompts through the model once, so that any number of targets can be scored behind them.

    Args:
        model: with ``prefill(tokens_BS, lengths_B, max_length) -> (logits_BV, cache)`` and
            ``extend(cache, rows_P, tokens_PT) -> logits_PTV``, or with ``encode`` and ``decode``.
        tokens_BS: prompts, one a row, padding behind.
        lengths_B: their lengths.
        longest: tokens of the longest target.
    """
    if hasattr(model, "prefill"):
        # A row of length 0 only fills the shape, but attention needs something to look at.
        logits_BV, cache = model.prefill(tokens_BS, jnp.maximum(lengths_B, 1), longest)
        return Context(cache, logits_BV)
    segment_ids_BS = segments(lengths_B, tokens_BS.shape[1])
    return Context((model.encode(tokens_BS, segment_ids_BS), segment_ids_BS), None)


def target_logits(
    model: Any, context: Context, rows_P: Int[Array, "P"], targets_PT: Int[Array, "P T"]
) -> Float[Array, "P T V"]:
    """Computes the logits of every target token, given its prompt and the target tokens before it.

    Args:
        model: as for ``prefill``.
        context: what ``prefill`` returned.
        rows_P: the prompt that each target follows.
        targets_PT: token ids.
    """
    if context.logits is None:
        start_P1 = jnp.full_like(targets_PT[:, :1], model.config.decoder_start_id)
        before_PT = jnp.concatenate([start_P1, targets_PT[:, :-1]], axis=1)
        encoded_BSD, segment_ids_BS = context.memory
        return model.decode(before_PT, encoded_BSD[rows_P], segment_ids_BS[rows_P])
    first_P1V = context.logits[rows_P][:, None]
    if targets_PT.shape[1] == 1:
        return first_P1V
    return jnp.concatenate([first_P1V, model.extend(context.memory, rows_P, targets_PT[:, :-1])], axis=1)


class DecodeState(NamedTuple):
    """The state of decoding behind the prompts, before the first token is written.

    Attributes:
        cache: the model's key-value cache, a row a prompt.
        last: the token to read next.
        logits: the logits of the first token to write where reading the prompt gives them; else
            ``None``, and reading ``last`` does.
    """

    cache: Any
    last: Int[Array, "B"]
    logits: Float[Array, "B V"] | None


def start_decoding(
    model: Any, tokens_BS: Int[Array, "B S"], lengths_B: Int[Array, "B"], max_length: int
) -> DecodeState:
    """Prefills the prompts for decoding: through the encoder, once, or as the beginning of what a decoder writes.

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
        return DecodeState(cache, jnp.zeros_like(lengths_B), logits_BV)
    segment_ids_BS = segments(lengths_B, tokens_BS.shape[1])
    cache = model.init_cache(model.encode(tokens_BS, segment_ids_BS), segment_ids_BS, max_length)
    return DecodeState(cache, jnp.full_like(lengths_B, model.config.decoder_start_id), None)


def repeat_rows(cache: Any, times: int) -> Any:
    """Repeats each row of a cache ``times`` times, side by side, in the fields that rows write for themselves."""
    if times == 1:
        return cache
    return cache._replace(
        **{
            name: jax.tree.map(lambda leaf, axis=axis: jnp.repeat(leaf, times, axis=axis), getattr(cache, name))
            for name, axis in cache.beam_axes.items()
        }
    )


def take_rows(cache: Any, rows_R: Int[Array, "R"]) -> Any:
    """Reorders a cache: row r goes on from what was row ``rows_R[r]``; nothing that rows share is copied."""
    return cache._replace(
        **{
            name: jax.tree.map(
                lambda leaf, axis=axis: jnp.take(leaf, rows_R, axis=axis, mode="clip"),
                getattr(cache, name),
            )
            for name, axis in cache.beam_axes.items()
        }
    )
