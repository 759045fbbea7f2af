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


class _Carry(NamedTuple):
    step: Int[Array, ""]
    cache: Any
    last: Int[Array, "B"]
    output: Int[Array, "B T"]
    finished: Bool[Array, "B"]
    seen: Bool[Array, "B V"] | None


def sample(
    model: Model,
    state: DecodeState,
    finished_B: Bool[Array, "B"],
    keys_B2: UInt32[Array, "B 2"] | None,
    stops_NM: Int[Array, "N M"] | None,
    seen_BV: Bool[Array, "B V"] | None = None,
    *,
    decoding: DecodingConfig,
    max_length: int,
    vocabulary_size: int | None,
) -> Int[Array, "B T"]:
    """Decodes greedily or by sampling; returns ids ``[B, T]``, padding behind the token that ended a row.

    Args:
        model: its ``decode_step`` is called.
        state: of ``model.prefill``.
        finished_B: rows that write nothing.
        keys_B2: of ``draw_key``, for ``sample``.
        stops_NM: of ``stop_table``.
        seen_BV: of ``prompt_tokens_seen``, where the method penalises repetition.
        decoding: the method and its settings.
        max_length: T.
        vocabulary_size: ids from here on are never written.
    """
    config, ends = model.config, end_ids(model.config)

    def accept(carry: _Carry, logits_BV: Float[Array, "B V"]) -> _Carry:
        logits_BV = mask_disallowed(
            penalize_repetition(logits_BV, carry.seen, decoding.repetition_penalty),
            carry.step,
            ends=ends,
            min_length=decoding.min_length,
            vocabulary_size=vocabulary_size,
        )
        if decoding.method == "sample":
            assert keys_B2 is not None, "sampling needs a key a row"
            next_B = draw(sampling_logits(logits_BV, decoding), keys_B2, carry.step)
        else:
            next_B = jnp.argmax(logits_BV, axis=-1)
        next_B = jnp.where(carry.finished, config.pad_id, next_B.astype(jnp.int32))
        output_BT = carry.output.at[:, carry.step].set(next_B)
        ended_B = is_end(next_B, ends) | stopped(output_BT, carry.step, stops_NM)
        seen_BV = mark_seen(carry.seen, next_B)
        return _Carry(carry.step + 1, carry.cache, next_B, output_BT, carry.finished | ended_B, seen_BV)

    def advance(carry: _Carry) -> _Carry:
        logits_BV, cache = model.decode_step(carry.cache, carry.last)
        return accept(carry._replace(cache=cache), logits_BV)

    def unfinished(carry: _Carry) -> Bool[Array, ""]:
        return (carry.step < max_length) & ~carry.finished.all()

    first = _Carry(
        step=jnp.zeros((), jnp.int32),
        cache=state.cache,
        last=state.last,
        output=jnp.full((state.last.shape[0], max_length), config.pad_id, jnp.int32),
        finished=finished_B,
        seen=seen_BV,
    )
    if state.logits is not None:
        first = accept(first, state.logits)
    return jax.lax.while_loop(unfinished, advance, first).output
