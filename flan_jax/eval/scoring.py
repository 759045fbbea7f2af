"""Log-likelihoods of given targets: a prompt is read once, and all of its targets' tokens in one pass behind it.

Shapes: B prompts of a batch, S their length, P (prompt, target) pairs computed together, T length of
targets, V vocabulary.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from flan_jax.models.build import merge
from flan_jax.models.ops.activation_sharding import RowPlacement, rows_placed
from flan_jax.models.ops.attention_mask import length_segments
from flan_jax.models.protocol import PromptContext


@functools.partial(jax.jit, static_argnames=("graphdef", "longest", "rows"))
def prefill(
    params: Mapping[str, Any],
    tokens_BS: Int[Array, "B S"],
    lengths_B: Int[Array, "B"],
    shared_P: Int[Array, "P"] | None = None,
    *,
    graphdef: nnx.GraphDef,
    longest: int,
    rows: RowPlacement | None = None,
) -> PromptContext:
    """Prefills prompts, one a row, that targets of at most ``longest`` tokens follow; ``shared_P`` begins all of them.

    ``rows`` says how rows are split over devices; without a word the compiler decides.
    """
    with rows_placed(rows):
        return merge(graphdef, params).prompt_context(tokens_BS, lengths_B, longest, shared_P)


@functools.partial(jax.jit, static_argnames=("graphdef", "parts", "rows"))
def target_scores(
    params: Mapping[str, Any],
    context: PromptContext,
    rows_P: Int[Array, "P"],
    targets_PT: Int[Array, "P T"],
    target_lengths_P: Int[Array, "P"],
    *,
    graphdef: nnx.GraphDef,
    parts: int = 1,
    rows: RowPlacement | None = None,
) -> Float[Array, "P"]:
    """Computes the log-likelihood (nats) of each target: the sum over its tokens, EOS included.

    Args:
        params: parameters of the model.
        context: what ``prefill`` returned.
        rows_P: which prompt each target follows.
        targets_PT: token ids; what stands behind a target's length does not matter.
        target_lengths_P: 0 for pairs that only fill the shape; they score 0.
        graphdef: the model.
        parts: equal parts that prompts and pairs lie in, a part a device, where each pair has a prompt of its own part.
        rows: how pairs are split over devices; without a word the compiler decides.
    """
    with rows_placed(rows):
        logits_PTV = merge(graphdef, params).target_logits(context, rows_P, targets_PT, parts)
    return _log_likelihoods(logits_PTV, targets_PT, target_lengths_P)[0]


@functools.partial(jax.jit, static_argnames=("graphdef", "parts", "rows"))
def greedy_target_scores(
    params: Mapping[str, Any],
    context: PromptContext,
    rows_P: Int[Array, "P"],
    targets_PT: Int[Array, "P T"],
    target_lengths_P: Int[Array, "P"],
    *,
    graphdef: nnx.GraphDef,
    parts: int = 1,
    rows: RowPlacement | None = None,
) -> Float[Array, "P 2"]:
    """Computes, beside each log-likelihood (nats), 1 where greedy decoding writes the target itself, 0 elsewhere.

    Arguments are those of ``target_scores``.
    """
    with rows_placed(rows):
        logits_PTV = merge(graphdef, params).target_logits(context, rows_P, targets_PT, parts)
    log_likelihood_P, chosen_PT = _log_likelihoods(logits_PTV, targets_PT, target_lengths_P)
    counted_PT = length_segments(target_lengths_P, targets_PT.shape[1])
    greedy_P = jnp.where(counted_PT, chosen_PT == logits_PTV.max(axis=-1), True).all(axis=-1)
    return jnp.stack([log_likelihood_P, greedy_P.astype(log_likelihood_P.dtype)], axis=-1)


def _log_likelihoods(
    logits_PTV: Float[Array, "P T V"], targets_PT: Int[Array, "P T"], target_lengths_P: Int[Array, "P"]
) -> tuple[Float[Array, "P"], Float[Array, "P T"]]:
    """Sums the log-likelihoods of each target's tokens; returns also the logit of each token."""
    # Only the targets' own logits are gathered: a full log-softmax would be a second [P, T, V].
    chosen_PT = jnp.take_along_axis(logits_PTV, targets_PT[..., None], axis=-1)[..., 0]
    log_likelihood_PT = chosen_PT - jax.nn.logsumexp(logits_PTV, axis=-1)
    counted_PT = length_segments(target_lengths_P, targets_PT.shape[1])
    return jnp.where(counted_PT, log_likelihood_PT, 0.0).sum(axis=-1), chosen_PT
