"""One training step: a flat pure function, and its compilation for a mesh."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array

from flan_jax.errors import UserError
from flan_jax.models.build import merge
from flan_jax.models.peft.adapters import join
from flan_jax.models.peft.config import TuningConfig
from flan_jax.train.loss import OBJECTIVE_WEIGHTS, LossSums, excess_by_task, model_loss, objective_weights
from flan_jax.train.optimizer import updates_taken
from flan_jax.train.sharding import Partitioner
from flan_jax.train.state import TrainState
from flan_jax.train.step_config import StepConfig

Batch = Mapping[str, Array]
Metrics = dict[str, Array]
ALL = TuningConfig()
PLAIN = StepConfig()
GradientFn = Callable[[Any, Batch, Array], tuple[Any, LossSums]]
StepFn = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    num_tasks: int,
    config: StepConfig = PLAIN,
    tuning: TuningConfig = ALL,
    partitioner: Partitioner | None = None,
    of_params: Any = None,
) -> tuple[TrainState, Metrics]:
    """Takes one optimiser step on one global batch; `compile_train_step` describes all of it.

    Where the loss or the gradient is not finite, the state stays as it is but for the number of steps.
    """
    step_key = jax.random.fold_in(state.key, state.step)
    if config.loss_normalizer != "tokens":
        batch = {**batch, OBJECTIVE_WEIGHTS: objective_weights(batch, config.loss_normalizer, num_tasks=num_tasks)}

    def objective(params: Any, part: Batch, index: Array) -> tuple[Array, LossSums]:
        key = jax.random.fold_in(step_key, index)
        model = merge(graphdef, join(params, state.frozen, tuning))
        sums = model_loss(
            model, part, num_tasks=num_tasks, z_loss=config.z_loss, dropout_key=key, partitioner=partitioner
        )
        return sums.objective, sums

    gradient = _placed(jax.grad(objective, has_aux=True), of_params)
    sums, grads = sum_over_microbatches(gradient, state.params, batch, config.microbatches)
    weight = jnp.sum(batch[OBJECTIVE_WEIGHTS]) if OBJECTIVE_WEIGHTS in batch else sums.weight
    grads = jax.tree.map(lambda grad: grad / weight, grads)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    loss, grad_norm = sums.loss / sums.weight, optax.tree.norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    decay = config.ema_decay
    ema = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, state.ema, params if state.ema else {})
    before = (state.params, state.opt_state, state.ema)
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), (params, opt_state, ema), before)
    metrics = {
        "loss": loss,
        "z_loss": sums.z_loss / sums.weight,
        "accuracy": sums.correct / sums.weight,
        "weight": sums.weight,
        "tokens": sum(jnp.sum(ids > 0) for name, ids in batch.items() if name.endswith("_segment_ids")),
        "grad_norm": grad_norm,
        "param_norm": optax.tree.norm(state.params),
        "learning_rate": schedule(updates_taken(state.opt_state, state.step)),
        "skipped": jnp.where(finite, 0.0, 1.0),
        "task_loss": jnp.where(finite, sums.task_loss / jnp.maximum(sums.task_weight, 1e-9), 0.0),
        "task_weight": jnp.where(finite, sums.task_weight, 0.0),
    }
    return dataclasses.replace(
        state, step=state.step + 1, **dict(zip(("params", "opt_state", "ema"), kept, strict=True))
    ), metrics


def _placed(gradient: GradientFn, of_params: Any) -> GradientFn:
    """The gradient function whose gradients lie as their parameters do.

    Said right behind the backward pass, a device's sums over its rows are scattered; said at the end of the step alone,
    they were added on every device first, with the optimiser's moments behind them.
    """
    if of_params is None:
        return gradient

    def placed(params: Any, batch: Batch, index: Array) -> tuple[Any, LossSums]:
        grads, sums = gradient(params, batch, index)
        return jax.lax.with_sharding_constraint(grads, of_params), sums

    return placed


def sum_over_microbatches(gradient: GradientFn, params: Any, batch: Batch, count: int) -> tuple[LossSums, Any]:
    """Adds sums and gradients of sums over `count` parts of the batch, one part in memory at a time.

    Part i takes every `count`-th row from row i on, so that rows stay on the device that has them.

    Raises:
      UserError: the rows of the batch cannot be divided by `count`.
    """
    if count == 1:
        grads, sums = gradient(params, batch, jnp.int32(0))
        return sums, grads
    rows = len(next(iter(batch.values())))
    if rows % count:
        raise UserError(f"A batch of {rows} rows cannot be divided into {count} microbatches of equal size.")
    parts = {name: jnp.moveaxis(values.reshape(-1, count, *values.shape[1:]), 1, 0) for name, values in batch.items()}

    def add(total: Any, part: tuple[Batch, Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, gradient(params, *part)), None

    first = {name: values[0] for name, values in parts.items()}
    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(gradient, params, first, jnp.int32(0)))
    (grads, sums), _ = jax.lax.scan(add, zeros, (parts, jnp.arange(count)))
    return sums, grads


def compile_train_step(
    shardings: TrainState,
    partitioner: Partitioner,
    *,
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    num_tasks: int,
    config: StepConfig = PLAIN,
    tuning: TuningConfig = ALL,
    compiler_options: Mapping[str, Any] | None = None,
) -> StepFn:
    """Compiles `train_step` (at its first call, once for a run) with a sharding for every leaf.

    The loss and its gradient are sums over all loss tokens of the global batch, divided by their
    weight (`loss.objective_weights` says by which where sequences or tasks count alike): the same for
    every mesh and every number of microbatches. Dropout depends on (seed, step).

    Args:
      shardings: where the state's leaves live (`shardings_of(state)`); they come out where they went in.
      partitioner: how the batch lies, and the one that the state's shardings are of.
      schedule: the optimiser's learning rate, for the metrics only.
      num_tasks: K, the length of the per-task metrics.
      config: what the step does beside model and optimizer: the z-loss, what counts alike in the loss, and the parts
        the batch is computed in.
      tuning: which part of the model the state trains. What is frozen has no gradient, is not donated,
        and goes into the next state as it is.
      compiler_options: XLA options of this program alone, for example of its scheduler on GPUs.

    Returns:
      (state, batch) -> (state, metrics); the state passed in is donated, that is gone afterwards. The
      metrics are float32 scalars on every device: `loss` (cross-entropy, nats a token), `z_loss` (what
      it adds to the objective), `accuracy`, `weight` (loss tokens), `tokens` (all tokens that are no
      padding, both sides), `grad_norm` (before clipping), `param_norm` (of the weights before
      the step), `learning_rate`, `skipped` (1 for a step that
      changed nothing, as its loss or gradient is not finite); and, of shape [K], `task_loss` (mean; 0
      where the task has no token in the batch) and `task_weight`, both 0 in a skipped step.
    """
    step = functools.partial(
        train_step,
        partitioner=partitioner,
        graphdef=graphdef,
        optimizer=optimizer,
        schedule=schedule,
        num_tasks=num_tasks,
        config=config,
        tuning=tuning,
        of_params=shardings.params if partitioner.mesh.size > 1 else None,
    )
    options = dict(compiler_options or {}) or None
    of_batch, everywhere = partitioner.batch(), partitioner.replicated()
    if not shardings.frozen:
        return jax.jit(
            step,
            in_shardings=(shardings, of_batch),
            out_shardings=(shardings, everywhere),
            donate_argnums=0,
            compiler_options=options,
        )

    # Donated with the rest, frozen arrays would be copied: donated buffers go to results by shape, not by name.
    def step_beside(own: TrainState, frozen: Any, batch: Batch) -> tuple[TrainState, Metrics]:
        after, metrics = step(dataclasses.replace(own, frozen=frozen), batch)
        return dataclasses.replace(after, frozen={}), metrics

    own_shardings = dataclasses.replace(shardings, frozen={})
    compiled = jax.jit(
        step_beside,
        in_shardings=(own_shardings, shardings.frozen, of_batch),
        out_shardings=(own_shardings, everywhere),
        donate_argnums=0,
        compiler_options=options,
    )

    def step_of_part(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        after, metrics = compiled(dataclasses.replace(state, frozen={}), state.frozen, batch)
        return dataclasses.replace(after, frozen=state.frozen), metrics

    def lower(state: TrainState, batch: Batch) -> jax.stages.Lowered:
        return compiled.lower(dataclasses.replace(state, frozen={}), state.frozen, batch)

    def trace(state: TrainState, batch: Batch) -> jax.stages.Traced:
        return compiled.trace(dataclasses.replace(state, frozen={}), state.frozen, batch)

    # As a function that jax.jit made has them.
    step_of_part.lower, step_of_part.trace = lower, trace  # type: ignore[attr-defined]
    return step_of_part


def compile_loss_step(
    shardings: TrainState,
    partitioner: Partitioner,
    *,
    graphdef: nnx.GraphDef,
    num_tasks: int,
    tuning: TuningConfig = ALL,
) -> Callable[[Any, Batch], LossSums]:
    """Compiles (params, batch) -> LossSums without dropout or gradient, for a validation loss.

    Sums of several batches add up: divide `loss` by `weight` at the end. The parameters are the whole
    model's: of a run that trains a part, `join(state.params, state.frozen, tuning)`.
    """
    whole = join(shardings.params, shardings.frozen, tuning)

    def loss_step(params: Any, batch: Batch) -> LossSums:
        return model_loss(merge(graphdef, params), batch, num_tasks=num_tasks, partitioner=partitioner)

    return jax.jit(
        loss_step,
        in_shardings=(whole, partitioner.batch()),
        out_shardings=partitioner.replicated(),
    )


def compile_excess_step(
    shardings: TrainState,
    reference: Any,
    partitioner: Partitioner,
    *,
    graphdef: nnx.GraphDef,
    num_tasks: int,
    tuning: TuningConfig = ALL,
) -> Callable[[TrainState, Batch], tuple[Array, Array]]:
    """Compiles (state, batch) -> `excess_by_task` of the state's model over a reference model of the same kind.

    Args:
      reference: its parameters, whole; they stay on the devices.
      others: as for `compile_train_step`.
    """
    places = jax.tree.map(lambda leaf: leaf.sharding, reference)

    def excess(params: Any, frozen: Any, reference: Any, batch: Batch) -> tuple[Array, Array]:
        model = merge(graphdef, join(params, frozen, tuning))
        return excess_by_task(model, merge(graphdef, reference), batch, num_tasks=num_tasks, partitioner=partitioner)

    compiled = jax.jit(
        excess,
        in_shardings=(shardings.params, shardings.frozen, places, partitioner.batch()),
        out_shardings=partitioner.replicated(),
    )
    return lambda state, batch: compiled(state.params, state.frozen, reference, batch)


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
