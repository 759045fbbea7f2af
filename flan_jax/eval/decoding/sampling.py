"""Greedy decoding and sampling: one text a prompt, of the likeliest token at every step or of one that is drawn.

Shapes: B prompts, T longest output, V vocabulary, N stop sequences of at most M tokens.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt32

from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.eval.decoding.filters import (
    end_ids,
    is_end,
    mark_seen,
    mask_disallowed,
    penalize_repetition,
    sampling_logits,
)
from flan_jax.eval.decoding.stopping import stopped
from flan_jax.models.protocol import DecodeState, Model
from flan_jax.tasks.hashing import counter_hash


def draw_key(seed: int, *parts: object) -> np.ndarray:
    """Derives the key of all draws of one text, uint32 ``[2]``, from the seed and from what names the example."""
    bits = counter_hash("draw", seed, *parts)
    return np.array([bits >> 32, bits & 0xFFFFFFFF], np.uint32)


def draw(logits_BV: Float[Array, "B V"], keys_B2: UInt32[Array, "B 2"], step: Int[Array, ""]) -> Int[Array, "B"]:
    """Samples one token a row from the distribution of its logits.

    Each row draws from its own key and the step, so neither its place in the batch nor its company
    changes what it draws.
    """

    def one(key_2: Array, logits_V: Array) -> Array:
        key = jax.random.fold_in(jax.random.wrap_key_data(key_2, impl="threefry2x32"), step)
        return jax.random.categorical(key, logits_V)

    return jax.vmap(one)(keys_B2, logits_BV)


class SamplingState(NamedTuple):
    """A batch of texts that are being written: T places for tokens, ``step`` of them taken."""

    step: Int[Array, ""]
    cache: Any
    last: Int[Array, "B"]
    output: Int[Array, "B T"]
    finished: Bool[Array, "B"]
    seen: Bool[Array, "B V"] | None


class SamplingRule(NamedTuple):
    """Choice of the next token.

    Attributes:
        decoding: the method and its settings.
        keys: of ``draw_key``, for the method ``sample``.
        stops: of ``stop_table``.
        vocabulary_size: ids from here on are never written.
    """

    decoding: DecodingConfig
    keys: UInt32[Array, "B 2"] | None
    stops: Int[Array, "N M"] | None
    vocabulary_size: int | None


def start_sampling(
    model: Model,
    state: DecodeState,
    finished_B: Bool[Array, "B"],
    rule: SamplingRule,
    seen_BV: Bool[Array, "B V"] | None = None,
    *,
    max_length: int,
) -> SamplingState:
    """Begins texts; their first token is written where the prompt's logits are known.

    Args:
        model: of the prompts.
        state: of ``model.prefill``.
        finished_B: rows that write nothing.
        rule: chooses tokens.
        seen_BV: of ``prompt_tokens_seen``, where the method penalises repetition.
        max_length: T.
    """
    first = SamplingState(
        step=jnp.zeros((), jnp.int32),
        cache=state.cache,
        last=state.last,
        output=jnp.full((state.last.shape[0], max_length), model.config.pad_id, jnp.int32),
        finished=finished_B,
        seen=seen_BV,
    )
    return first if state.logits is None else _accept(model, rule, first, state.logits)


def continue_sampling(
    model: Model, state: SamplingState, rule: SamplingRule, limit: Int[Array, ""] | int
) -> SamplingState:
    """Writes tokens until every row has ended or has ``limit`` of them."""

    def advance(state: SamplingState) -> SamplingState:
        logits_BV, cache = model.decode_step(state.cache, state.last)
        return _accept(model, rule, state._replace(cache=cache), logits_BV)

    def unfinished(state: SamplingState) -> Bool[Array, ""]:
        return (state.step < limit) & ~state.finished.all()

    return jax.lax.while_loop(unfinished, advance, state)


def _accept(model: Model, rule: SamplingRule, state: SamplingState, logits_BV: Float[Array, "B V"]) -> SamplingState:
    """Chooses the next token of each row from its logits."""
    config, decoding, ends = model.config, rule.decoding, end_ids(model.config)
    logits_BV = mask_disallowed(
        penalize_repetition(logits_BV, state.seen, decoding.repetition_penalty),
        state.step,
        ends=ends,
        min_length=decoding.min_length,
        vocabulary_size=rule.vocabulary_size,
    )
    if decoding.method == "sample":
        assert rule.keys is not None, "sampling needs a key a row"
        next_B = draw(sampling_logits(logits_BV, decoding), rule.keys, state.step)
    else:
        next_B = jnp.argmax(logits_BV, axis=-1)
    next_B = jnp.where(state.finished, config.pad_id, next_B.astype(jnp.int32))
    output_BT = state.output.at[:, state.step].set(next_B)
    ended_B = is_end(next_B, ends) | stopped(output_BT, state.step, rule.stops)
    seen_BV = mark_seen(state.seen, next_B)
    return SamplingState(state.step + 1, state.cache, next_B, output_BT, state.finished | ended_B, seen_BV)
