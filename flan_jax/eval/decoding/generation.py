"""Generation: a compiled decoding loop over the model's key-value cache, for greedy, sampling and beam search.

Shapes: B rows of a batch, S prompt length, T longest output, V vocabulary, N stop sequences of at most
M tokens.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Bool, Int, UInt32

from flan_jax.eval.decoding.beam import beam_search
from flan_jax.eval.decoding.config import GREEDY, DecodingConfig
from flan_jax.eval.decoding.filters import prompt_tokens_seen
from flan_jax.eval.decoding.sampling import SamplingRule, SamplingState, continue_sampling, start_sampling
from flan_jax.models.build import merge
from flan_jax.models.ops.activation_sharding import RowPlacement, rows_placed
from flan_jax.models.protocol import DecodeState, Model


@functools.partial(jax.jit, static_argnames=("graphdef", "max_length", "vocabulary_size", "decoding", "rows"))
def generate(
    params: Mapping[str, Any],
    tokens_BS: Int[Array, "B S"],
    lengths_B: Int[Array, "B"],
    keys_B2: UInt32[Array, "B 2"] | None = None,
    stops_NM: Int[Array, "N M"] | None = None,
    shared_P: Int[Array, "P"] | None = None,
    *,
    graphdef: nnx.GraphDef,
    max_length: int,
    vocabulary_size: int | None = None,
    decoding: DecodingConfig = GREEDY,
    rows: RowPlacement | None = None,
) -> Int[Array, "B T"]:
    """Generates a continuation of each prompt, until every row has written EOS or a stop sequence.

    Args:
        params: parameters of the model.
        tokens_BS: prompts, one a row.
        lengths_B: their lengths; rows of length 0 only fill the shape and write nothing.
        keys_B2: for sampling, ``draw_key`` of each row.
        stops_NM: ``stop_table`` of the stop sequences.
        shared_P: what all prompts begin with, as ``protocol.Model.prefill`` has it.
        graphdef: the model.
        max_length: T, the most tokens that a row writes, EOS included.
        vocabulary_size: ids from here on are never written: embedding tables are often larger than
            the vocabulary they serve. ``None`` allows all of the table.
        decoding: the method and its settings, as ``compiled_part`` leaves them.
        rows: how rows are split over devices; without a word the compiler decides.

    Returns:
        Ids ``[B, T]``; padding behind the EOS or the stop sequence that ended a row.
    """
    with rows_placed(rows):
        model = merge(graphdef, params)
        state, seen = _read(model, tokens_BS, lengths_B, max_length, decoding, shared_P)
        if max_length > 1:
            state = state._replace(cache=model.unstack_layers(state.cache))
        if decoding.method == "beam" and decoding.beams > 1:
            sizes: dict[str, Any] = {"max_length": max_length, "vocabulary_size": vocabulary_size, "decoding": decoding}
            return beam_search(model, state, lengths_B == 0, stops_NM, seen, **sizes).tokens[:, 0]
        rule = SamplingRule(decoding, keys_B2, stops_NM, vocabulary_size)
        begun = start_sampling(model, state, lengths_B == 0, rule, seen, max_length=max_length)
        return continue_sampling(model, begun, rule, max_length).output


def _read(
    model: Model,
    tokens_BS: Int[Array, "B S"],
    lengths_B: Int[Array, "B"],
    max_length: int,
    decoding: DecodingConfig,
    shared_P: Int[Array, "P"] | None = None,
) -> tuple[DecodeState, Bool[Array, "B V"] | None]:
    """Prefills prompts, and marks their tokens where the method penalizes repetition."""
    state = model.prefill(tokens_BS, lengths_B, max_length, shared_P)
    if decoding.repetition_penalty == 1:
        return state, None
    return state, prompt_tokens_seen(tokens_BS, lengths_B, model.config, model.config.vocab_size)


@functools.partial(jax.jit, static_argnames=("graphdef", "max_length", "vocabulary_size", "decoding"))
def start_texts(
    params: Mapping[str, Any],
    tokens_BS: Int[Array, "B S"],
    lengths_B: Int[Array, "B"],
    keys_B2: UInt32[Array, "B 2"] | None = None,
    stops_NM: Int[Array, "N M"] | None = None,
    *,
    graphdef: nnx.GraphDef,
    max_length: int,
    vocabulary_size: int | None = None,
    decoding: DecodingConfig = GREEDY,
) -> SamplingState:
    """Reads prompts and begins their texts, which ``continue_texts`` goes on with; arguments as those of ``generate``."""
    model = merge(graphdef, params)
    state, seen = _read(model, tokens_BS, lengths_B, max_length, decoding)
    rule = SamplingRule(decoding, keys_B2, stops_NM, vocabulary_size)
    return start_sampling(model, state, lengths_B == 0, rule, seen, max_length=max_length)


@functools.partial(jax.jit, static_argnames=("graphdef", "vocabulary_size", "decoding"), donate_argnames=("state",))
def continue_texts(
    params: Mapping[str, Any],
    state: SamplingState,
    limit: Int[Array, ""],
    keys_B2: UInt32[Array, "B 2"] | None = None,
    stops_NM: Int[Array, "N M"] | None = None,
    *,
    graphdef: nnx.GraphDef,
    vocabulary_size: int | None = None,
    decoding: DecodingConfig = GREEDY,
) -> SamplingState:
    """Goes on with texts until each has ended or has ``limit`` tokens; the other arguments as those of ``generate``."""
    rule = SamplingRule(decoding, keys_B2, stops_NM, vocabulary_size)
    return continue_sampling(merge(graphdef, params), state, rule, limit)
