"""The training loss as sums over tokens.

Sums add up over devices, hosts and microbatches; the step divides once by the global batch's weight,
so neither the sharding nor the number of microbatches changes what is optimised. Where sequences or tasks
count alike (``objective_weights``), each token's share is found on the whole batch before it is divided.

Shapes: B rows, T decoder length, V vocabulary, K tasks.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from flan_jax.models.ops.activation_sharding import rows_placed
from flan_jax.train.fused_loss import TokenValues, fused_loss
from flan_jax.train.sharding import Partitioner
from flan_jax.train.step_config import LossNormalizer

OBJECTIVE_WEIGHTS = "decoder_objective_weights"
"""Under this name a batch holds the weights of its tokens in what is optimized, where they are not those of the loss."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LossSums:
    """Sums over the loss tokens of a batch, each token weighted by `decoder_loss_weights`."""

    objective: Float[Array, ""]
    """What is optimised, `loss + z_loss`, by the tokens' weights in it; of what ``model_loss`` gives, the only sum that has a gradient."""
    loss: Float[Array, ""]
    """Cross-entropy in nats, without the z-loss."""
    z_loss: Float[Array, ""]
    """The z-loss, its coefficient included."""
    weight: Float[Array, ""]
    """The weights themselves: the number of loss tokens where all weights are 0 or 1."""
    correct: Float[Array, ""]
    """Tokens whose most likely prediction is the target."""
    task_loss: Float[Array, "K"]
    """`loss` by task."""
    task_weight: Float[Array, "K"]
    """`weight` by task."""


def model_loss(
    model: Any,
    batch: Mapping[str, Array],
    *,
    num_tasks: int,
    z_loss: float = 0.0,
    dropout_key: Key[Array, ""] | None = None,
    partitioner: Partitioner | None = None,
) -> LossSums:
    """Computes the loss of a model on a batch, as ``token_loss`` of its logits has it, without holding all logits.

    Args:
      model: with ``hidden(batch, dropout_key=…)`` and ``head()``.
      batch: what the model reads, and what ``token_loss`` reads; ``OBJECTIVE_WEIGHTS`` may weight the objective's tokens.
      num_tasks: K.
      z_loss: the coefficient, 0 for none.
      dropout_key: ``None`` computes without dropout.
      partitioner: how rows and vocabulary are split over devices: the residual stream is split by its rows, and
        ``fused_loss`` says the rest.

    Raises:
      TypeError: when a sum other than ``objective`` is differentiated.
    """
    with rows_placed(partitioner):
        hidden = model.hidden(batch, dropout_key=dropout_key)
    weights, targets = batch["decoder_loss_weights"].astype(jnp.float32), batch["decoder_target_tokens"]
    weights = batch.get(OBJECTIVE_WEIGHTS, weights)
    objective, values = fused_loss(model.head(), hidden, targets, weights, z_loss=z_loss, partitioner=partitioner)
    return _sums(objective, values, batch, num_tasks, z_loss)


def objective_weights(batch: Mapping[str, Array], normalizer: LossNormalizer, *, num_tasks: int) -> Float[Array, "B T"]:
    """Computes the weight of each token in an objective in which sequences, or tasks, count alike.

    A token's loss weight is divided by the number of loss tokens of its sequence (its segment of the row), or of its task
    in the whole batch. The objective is the sum over tokens by these weights, divided by the sum of the weights: where loss
    weights are 0 or 1, the mean over sequences, or over the tasks that occur, of the mean over their tokens.

    Args:
      batch: `decoder_loss_weights`, `decoder_segment_ids` and `decoder_task_ids`, [B, T]; the global batch.
      normalizer: what counts alike.
      num_tasks: K.
    """
    weights = batch["decoder_loss_weights"].astype(jnp.float32)
    if normalizer == "tokens":
        return weights
    counted = (weights > 0).astype(jnp.float32)
    if normalizer == "sequences":
        segments = batch["decoder_segment_ids"]
        most = segments.shape[1] + 1
        tokens = jax.vmap(lambda one, ids: jax.ops.segment_sum(one, ids, num_segments=most)[ids])(counted, segments)
    else:
        tasks = batch["decoder_task_ids"]
        tokens = _by_task(counted, tasks, num_tasks)[jnp.maximum(tasks, 0)]
    return weights / jnp.maximum(tokens, 1.0)


def token_loss(
    logits: Float[Array, "B T V"], batch: Mapping[str, Array], *, num_tasks: int, z_loss: float = 0.0
) -> LossSums:
    """Computes cross-entropy of the targets, summed over tokens and by task.

    The z-loss adds `z_loss · logsumexp(logits)²` a token, which keeps the softmax's normaliser near
    one (Mesh TensorFlow; also PaLM, arXiv:2204.02311, section 5).

    Args:
      logits: unnormalised log-probabilities, float32.
      batch: `decoder_target_tokens` [B, T], `decoder_loss_weights` [B, T] and `decoder_task_ids`
        [B, T]: the task of each token, below `num_tasks`; -1 (padding) counts for no task.
      num_tasks: K.
      z_loss: the coefficient, 0 for none.
    """
    targets, weights = batch["decoder_target_tokens"], batch["decoder_loss_weights"].astype(jnp.float32)
    log_normalizer = jax.nn.logsumexp(logits, axis=-1)
    # A comparison instead of a gather: it stays local where the vocabulary is split over devices, and
    # its gradient is a comparison again, not a scatter.
    is_target = targets[..., None] == jnp.arange(logits.shape[-1])
    cross_entropy = log_normalizer - jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1)
    correct = (jnp.argmax(logits, axis=-1) == targets).astype(jnp.float32)
    objective = jnp.sum(weights * (cross_entropy + z_loss * jnp.square(log_normalizer)))
    return _sums(objective, TokenValues(cross_entropy, log_normalizer, correct), batch, num_tasks, z_loss)


def _sums(objective: Array, values: TokenValues, batch: Mapping[str, Array], num_tasks: int, z_loss: float) -> LossSums:
    weights, tasks = batch["decoder_loss_weights"].astype(jnp.float32), batch["decoder_task_ids"]
    return LossSums(
        objective=objective,
        loss=jnp.sum(values.cross_entropy * weights),
        z_loss=z_loss * jnp.sum(jnp.square(values.log_normalizer) * weights),
        weight=jnp.sum(weights),
        correct=jnp.sum(values.correct * weights),
        task_loss=_by_task(values.cross_entropy * weights, tasks, num_tasks),
        task_weight=_by_task(weights, tasks, num_tasks),
    )


def _by_task(values: Float[Array, "B T"], tasks: Int[Array, "B T"], num_tasks: int) -> Float[Array, "K"]:
    slots = jnp.where(tasks < 0, num_tasks, tasks)  # one slot more, for what belongs to no task
    return jax.ops.segment_sum(values.ravel(), slots.ravel(), num_segments=num_tasks + 1)[:num_tasks]


def excess_by_task(
    model: Any,
    reference: Any,
    batch: Mapping[str, Array],
    *,
    num_tasks: int,
    partitioner: Partitioner | None = None,
) -> tuple[Float[Array, "K"], Float[Array, "K"]]:
    """Sums by task how far a model is behind a reference model: max(loss - reference loss, 0) of every loss token.

    Dropout is off. DoReMi (arXiv 2305.10429, algorithm 1) clips each token so before it takes the mean.

    Args:
      model, reference: as for ``model_loss``.
      batch: as for ``model_loss``.
      num_tasks: K.
      partitioner: as for ``model_loss``.

    Returns:
      The sums, each token weighted by `decoder_loss_weights`, and the weights of each task.
    """
    weights, tasks = batch["decoder_loss_weights"].astype(jnp.float32), batch["decoder_task_ids"]
    losses = [
        fused_loss(
            each.head(),
            each.hidden(batch, dropout_key=None),
            batch["decoder_target_tokens"],
            weights,
            partitioner=partitioner,
        )[1].cross_entropy
        for each in (model, reference)
    ]
    excess = jnp.maximum(losses[0] - losses[1], 0.0)
    return _by_task(excess * weights, tasks, num_tasks), _by_task(weights, tasks, num_tasks)
