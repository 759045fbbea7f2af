"""Greedy generation: one compiled loop with the model's key-value cache.

Shapes: B rows of a batch, S encoder length, T longest output, V vocabulary.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Int

from flan_jax.eval.scoring import segments
from flan_jax.models.build import merge
from flan_jax.models.t5 import Cache


class _Carry(NamedTuple):
    step: Int[Array, ""]
    cache: Cache
    last: Int[Array, "B"]
    output: Int[Array, "B T"]
    finished: Bool[Array, "B"]


@functools.partial(jax.jit, static_argnames=("graphdef", "max_length", "vocabulary_size"))
def generate(
    params: Mapping[str, Any],
    tokens_BS: Int[Array, "B S"],
    lengths_B: Int[Array, "B"],
    *,
    graphdef: nnx.GraphDef,
    max_length: int,
    vocabulary_size: int | None = None,
) -> Int[Array, "B T"]:
    """The most likely next token again and again, until every row has written EOS.

    Args:
        params: parameters of the model.
        tokens_BS: prompts, one a row.
        lengths_B: their lengths; rows of length 0 only fill the shape and write nothing.
        graphdef: the model.
        max_length: T, the most tokens that a row writes, EOS included.
        vocabulary_size: ids from here on are never written: embedding tables are often larger than
            the vocabulary they serve. ``None`` allows all of the table.

    Returns:
        Ids ``[B, T]``; padding behind each row's EOS.
    """
    model = merge(graphdef, params)
    config = model.config
    encoder_segments_BS = segments(lengths_B, tokens_BS.shape[1])
    encoded_BSD = model.encode(tokens_BS, encoder_segments_BS)
    batch = tokens_BS.shape[0]

    def unfinished(carry: _Carry) -> Bool[Array, ""]:
        return (carry.step < max_length) & ~carry.finished.all()

    def advance(carry: _Carry) -> _Carry:
        logits_BV, cache = model.decode_step(carry.cache, carry.last)
        next_B = jnp.argmax(logits_BV[:, :vocabulary_size], axis=-1).astype(jnp.int32)
        next_B = jnp.where(carry.finished, config.pad_id, next_B)
        output_BT = carry.output.at[:, carry.step].set(next_B)
        return _Carry(carry.step + 1, cache, next_B, output_BT, carry.finished | (next_B == config.eos_id))

    first = _Carry(
        step=jnp.zeros((), jnp.int32),
        cache=model.init_cache(encoded_BSD, encoder_segments_BS, max_length),
        last=jnp.full(batch, config.decoder_start_id, jnp.int32),
        output=jnp.full((batch, max_length), config.pad_id, jnp.int32),
        finished=lengths_B == 0,
    )
    return jax.lax.while_loop(unfinished, advance, first).output
