"""Builds what learns a run's weights: its method with the units, the reference model and the log that it needs."""

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from flan_jax.errors import UserError
from flan_jax.experiments.batches import WeightsLog
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import RunData, open_tasks
from flan_jax.experiments.mixture import VALIDATION_SPLIT
from flan_jax.experiments.weighting.learned_weights import (
    Excess,
    FactorsOfLoss,
    GradientProducts,
    LearnedWeights,
    Rollback,
    TaskSums,
)
from flan_jax.experiments.weighting.rollback import check_rollbacks
from flan_jax.experiments.weights.base_check import check_same_vocabulary
from flan_jax.experiments.weights.initial import initial_params
from flan_jax.feed.batch_stream import BatchStream
from flan_jax.feed.layout import Batch as HostBatch
from flan_jax.feed.loader import PackedBatches
from flan_jax.files import atomic_write_text
from flan_jax.mixing.online.doremi import DoReMi
from flan_jax.mixing.online.method import ValidationMethod
from flan_jax.mixing.online.units import Units
from flan_jax.train.sharding import Partitioner
from flan_jax.train.state import TrainState, shardings_of, whole_params
from flan_jax.train.step import Batch, compile_excess_step, compile_gradient_products, compile_loss_step

RESULT = "learned_weights.gin"
"""The file of a run's folder with the weights that a method recommends for another run."""


@dataclasses.dataclass(frozen=True, eq=False)
class MethodParts:
    """The parts of a run's method that are checked and read before its folder is made.

    Attributes:
        units: what has a weight.
        reference: parameters of the reference model, on the devices; ``None`` for a method without one.
        validation: the batches, this process's rows, on which the method observes its loss; none for others.
    """

    units: Units
    reference: Any = None
    validation: tuple[HostBatch, ...] = ()


def method_parts(config: RunConfig, data: RunData) -> MethodParts | None:
    """Reads what a run's method needs; ``None`` for a run whose weights are given.

    Raises:
        UserError: one unit alone, units that share a task, a reference that is no run of this model, or steps that the
            method may go back to and that are not saved.
    """
    method = config.weighting
    if method is None:
        return None
    check_rollbacks(config)
    units = Units.of(data.mixture, method.units, data.weights)
    if len(units.names) < 2:
        raise UserError(
            f"{type(method).__name__} weights the {method.units}s of the mixture against each other, and the run draws from one: "
            f"{units.names[0]!r}. Leave run.weighting out, or name another mixture or other units."
        )
    if isinstance(method, ValidationMethod):
        return MethodParts(units, validation=validation_batches(config, data, units, method.validation_batches))
    if method.applies_to == "loss" and data.mixture.unit != "examples":
        raise UserError(
            f"{type(method).__name__} learns shares of the draws, and mixture {data.mixture.name!r} counts its rates in "
            f"{data.mixture.unit}, in which run.weights would read them. Name a mixture that counts in examples."
        )
    if method.observes != "excess_loss":
        return MethodParts(units)
    if not isinstance(method, DoReMi):
        raise UserError(f"{type(method).__name__} observes the excess loss, which only DoReMi names a reference for.")
    theirs = dataclasses.replace(config, initial_checkpoint=method.reference, initial_adapter="", initial_parameters=())
    try:
        check_same_vocabulary(theirs, data.vocabulary, log=lambda line: None)
        return MethodParts(units, initial_params(theirs))
    except UserError as error:
        raise UserError(f"DoReMi.reference: {str(error).removeprefix('INITIAL_CHECKPOINT_PATH: ')}") from None


def learned_weights(
    config: RunConfig,
    parts: MethodParts,
    partitioner: Partitioner,
    graphdef: nnx.GraphDef,
    state: TrainState,
    batches: BatchStream,
    log: WeightsLog,
    rollback: Rollback | None = None,
) -> LearnedWeights:
    """Builds a run's method at its first step.

    Args:
        config: the run, with a method.
        parts: of it.
        partitioner: of the run's arrays.
        graphdef: of its model.
        state: new or restored, for its places.
        batches: of the run.
        log: of its weights.
        rollback: finds an earlier state of the run again.
    """
    assert config.weighting is not None

    def on_weights(step: int, weights: Mapping[str, float]) -> None:
        if step % config.log_period == 0:  # each step has other ones
            log.of_loss(step, weights)

    count = len(batches.weights)
    excess = None if parts.reference is None else _excess(config, parts, partitioner, graphdef, state, count)
    measured = _validation(config, parts, partitioner, graphdef, state, count) if parts.validation else None
    return LearnedWeights(
        config.weighting,
        parts.units,
        batches,
        first_step=config.feed.curriculum_steps,
        on_weights=on_weights,
        excess=excess,
        products=_products(config, parts, partitioner, graphdef, state),
        factors=_factors(partitioner),
        validation=measured,
        rollback=rollback,
    )


def _factors(partitioner: Partitioner) -> FactorsOfLoss:
    """Multiplies the loss weights of a batch by a factor for each task."""
    everywhere = partitioner.replicated()
    # Padding counts for no task, and has the weight 0 whatever factor it is given.
    multiplied = jax.jit(lambda weights, tasks, factors: weights * factors[tasks], out_shardings=partitioner.batch())

    def factors(batch: Batch, values: np.ndarray) -> Batch:
        # This transfer is meant. JAX takes it for an implicit one where several processes share the mesh.
        with jax.transfer_guard_host_to_device("allow"):
            placed = jax.make_array_from_process_local_data(everywhere, values.astype(np.float32))
        weights = multiplied(batch["decoder_loss_weights"], batch["decoder_task_ids"], placed)
        return {**batch, "decoder_loss_weights": weights}

    return factors


def _excess(
    config: RunConfig,
    parts: MethodParts,
    partitioner: Partitioner,
    graphdef: nnx.GraphDef,
    state: TrainState,
    count: int,
) -> Excess:
    """Sums by task the loss beyond that of the reference model."""
    step = compile_excess_step(
        shardings_of(state), parts.reference, partitioner, graphdef=graphdef, num_tasks=count, tuning=config.tuning
    )

    def excess(state: TrainState, batch: Batch) -> TaskSums:
        sums, tokens = jax.device_get(step(state, batch))
        return np.asarray(sums, np.float64), np.asarray(tokens, np.float64)

    return excess


def _products(
    config: RunConfig, parts: MethodParts, partitioner: Partitioner, graphdef: nnx.GraphDef, state: TrainState
) -> GradientProducts | None:
    """Multiplies the units' gradients on a batch; ``None`` for a method that does not observe them."""
    assert config.weighting is not None
    if config.weighting.observes != "gradient_products":
        return None
    step = compile_gradient_products(
        shardings_of(state),
        partitioner,
        graphdef=graphdef,
        of_task=parts.units.of_task,
        microbatches=config.step.microbatches,
        tuning=config.tuning,
    )
    return lambda state, batch: np.asarray(jax.device_get(step(state, batch)), np.float64)


def _validation(
    config: RunConfig,
    parts: MethodParts,
    partitioner: Partitioner,
    graphdef: nnx.GraphDef,
    state: TrainState,
    count: int,
) -> Callable[[TrainState], TaskSums]:
    """Sums by task the loss on the validation batches."""
    step = compile_loss_step(shardings_of(state), partitioner, graphdef=graphdef, num_tasks=count, tuning=config.tuning)

    def measure(state: TrainState) -> TaskSums:
        params = whole_params(state, config.tuning)
        found = jax.device_get([step(params, partitioner.shard_batch(batch)) for batch in parts.validation])
        losses = np.sum([np.asarray(sums.task_loss, np.float64) for sums in found], axis=0)
        return losses, np.sum([np.asarray(sums.task_weight, np.float64) for sums in found], axis=0)

    return measure


def validation_batches(config: RunConfig, data: RunData, units: Units, count: int) -> tuple[HostBatch, ...]:
    """Packs examples of the validation splits of all tasks into ``count`` batches of the run's size, fewer where they end.

    Raises:
        UserError: a split is not prepared, or a unit has no token in so few batches.
    """
    specs = {task.name: task for task in data.mixture.drawn_tasks}
    tasks = open_tasks(data.store, [(specs[name], VALIDATION_SPLIT) for name in data.weights], data.vocabulary, config)
    once = dataclasses.replace(
        config.feed, exhausted="drop", max_epochs=1, curriculum_steps=0, stages=(), data_workers=0
    )
    made = PackedBatches(
        tasks,
        np.ones(len(tasks)),
        once,
        seed=config.seed,
        lengths=config.tokenize.lengths,
        decoder_only=config.model.decoder_only,
        input_start=config.model.input_start,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        prefetch=0,
    )
    with contextlib.closing(made):
        batches = tuple(itertools.islice(made, count))
        drawn = np.bincount(units.of_task, made.sampling_stats().target_tokens, len(units.names))
    if not drawn.all():
        raise UserError(
            f"{count} validation batches hold no token of the {type(config.weighting).__name__} unit "
            f"{units.names[int(drawn.argmin())]!r}. Raise {type(config.weighting).__name__}.validation_batches."
        )
    return batches


def save_result(folder: Path, learned: LearnedWeights) -> Path:
    """Writes the weights that a method recommends as ``run.weights``, for the gin file of another run."""
    path, result = folder / RESULT, learned.method.result
    assert result is not None
    if jax.process_index() == 0:
        method = type(learned.method).__name__
        weights = json.dumps(learned.by_name(result / result.sum()), indent=4, ensure_ascii=False)
        atomic_write_text(
            path, f"# Learned by {method} over the {learned.method.units}s of the mixture.\nrun.weights = {weights}\n"
        )
    return path
