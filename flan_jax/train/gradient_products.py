"""Inner products of the gradients of groups of tasks on one batch."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from flan_jax.models.build import merge
from flan_jax.models.peft.adapters import join
from flan_jax.models.peft.config import TuningConfig
from flan_jax.train.loss import LossSums, model_loss
from flan_jax.train.sharding import Partitioner
from flan_jax.train.state import TrainState
from flan_jax.train.step import ALL, Batch, sum_over_microbatches


def compile_gradient_products(
    shardings: TrainState,
    partitioner: Partitioner,
    *,
    graphdef: nnx.GraphDef,
    of_task: np.ndarray,
    microbatches: int = 1,
    tuning: TuningConfig = ALL,
) -> Callable[[TrainState, Batch], Array]:
    """Compiles (state, batch) -> [U, U] float32, <g_i, g_j> of the gradients g_i of each unit's mean loss on the batch.

    Dropout is off. Gradients are of what is trained. The units' backward passes come one after another, and their
    gradients stand in memory together: U times the trained parameters.

    Args:
      shardings: of the states it will be given.
      partitioner: of the batches.
      graphdef: of the model.
      of_task: [K] the unit, from 0 on, of each task.
      microbatches: parts that each pass takes the batch in.
      tuning: which part of the model is trained.

    Returns:
      The function; rows and columns of a unit of which the batch holds no token are NaN.
    """
    of_slot, units = jnp.asarray([*of_task, -1]), int(of_task.max()) + 1  # padding, task -1, is of no unit

    def products(params: Any, frozen: Any, batch: Batch) -> Array:
        def objective(params: Any, part: Batch, index: Array) -> tuple[Array, LossSums]:
            model = merge(graphdef, join(params, frozen, tuning))
            sums = model_loss(model, part, num_tasks=len(of_task), partitioner=partitioner)
            return sums.objective, sums

        def gradient_of(index: Array) -> tuple[Any, Array]:
            own = jnp.where(of_slot[batch["decoder_task_ids"]] == index, batch["decoder_loss_weights"], 0)
            part = {**batch, "decoder_loss_weights": own}
            sums, grads = sum_over_microbatches(jax.grad(objective, has_aux=True), params, part, microbatches)
            return jax.tree.map(lambda grad: grad / jnp.maximum(sums.weight, 1e-9), grads), sums.weight

        grads, tokens = jax.lax.map(gradient_of, jnp.arange(units))
        found = sum(
            jnp.tensordot(grad, grad, axes=(tuple(range(1, grad.ndim)),) * 2, precision="highest")
            for grad in jax.tree.leaves(grads)
        )
        return jnp.where((tokens > 0)[:, None] & (tokens > 0), found, jnp.nan)

    compiled = jax.jit(
        products,
        in_shardings=(shardings.params, shardings.frozen, partitioner.batch()),
        out_shardings=partitioner.replicated(),
    )
    return lambda state, batch: compiled(state.params, state.frozen, batch)
