"""Log-likelihoods of given targets: the encoder runs once an example, the decoder once an option.

Shapes: B examples of a batch, S encoder length, D model width, P (example, option) pairs computed
together, T decoder length, V vocabulary.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from flan_jax.models.build import merge


def segments(lengths_B: Int[Array, "B"], length: int) -> Int[Array, "B S"]:
    """Segment ids of rows that hold one example each: 1 up to its length, 0 behind.

    Told by length and not by the padding id, which may also be a token like any other.
    """
    return (jnp.arange(length) < lengths_B[:, None]).astype(jnp.int32)


@functools.partial(jax.jit, static_argnames="graphdef")
def encode(
    params: Mapping[str, Any], tokens_BS: Int[Array, "B S"], lengths_B: Int[Array, "B"], *, graphdef: nnx.GraphDef
) -> Float[Array, "B S D"]:
    """The encoder's output for rows that hold one example each."""
    return merge(graphdef, params).encode(tokens_BS, segments(lengths_B, tokens_BS.shape[1]))


@functools.partial(jax.jit, static_argnames="graphdef")
def target_scores(
    params: Mapping[str, Any],
    encoded_BSD: Float[Array, "B S D"],
    lengths_B: Int[Array, "B"],
    rows_P: Int[Array, "P"],
    targets_PT: Int[Array, "P T"],
    target_lengths_P: Int[Array, "P"],
    *,
    graphdef: nnx.GraphDef,
) -> Float[Array, "P"]:
    """The log-likelihood (nats) of each target: the sum over its tokens, EOS included.

    Args:
        params: parameters of the model.
        encoded_BSD: what ``encode`` returned.
        lengths_B: the lengths that went into it.
        rows_P: which example each target answers.
        targets_PT: token ids; what stands behind a target's length does not matter.
        target_lengths_P: 0 for pairs that only fill the shape; they score 0.
        graphdef: the model.
    """
    model = merge(graphdef, params)
    start_P1 = jnp.full_like(targets_PT[:, :1], model.config.decoder_start_id)
    inputs_PT = jnp.concatenate([start_P1, targets_PT[:, :-1]], axis=1)
    encoder_segments_BS = segments(lengths_B, encoded_BSD.shape[1])
    logits_PTV = model.decode(inputs_PT, encoded_BSD[rows_P], encoder_segments_BS[rows_P])
    # Only the targets' own logits are gathered: a full log-softmax would be a second [P, T, V].
    chosen_PT = jnp.take_along_axis(logits_PTV, targets_PT[..., None], axis=-1)[..., 0]
    log_likelihood_PT = chosen_PT - jax.nn.logsumexp(logits_PTV, axis=-1)
    return jnp.where(segments(target_lengths_P, targets_PT.shape[1]), log_likelihood_PT, 0.0).sum(axis=-1)
