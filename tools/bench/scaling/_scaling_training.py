"""A model, its step and a batch on one device, as the parts of bench_scaling.py train it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from _bench_presets import PRESETS, Preset, make_batch

from flan_jax.models.build import logical_axes
from flan_jax.train.optimizer import OptimizerConfig, learning_rate, make_optimizer
from flan_jax.train.sharding import MeshConfig, Partitioner, make_partitioner
from flan_jax.train.state import TrainState, abstract_sharded_state, init_state, shardings_of
from flan_jax.train.step import compile_train_step


@dataclasses.dataclass
class Training:
    """What is trained.

    Attributes:
        preset: the model with its batch's size.
        rule: the optimizer's options.
        partitioner: of the one device.
        shapes: of the state, with shardings.
        step: the compiled function, which compiles at its first call.
        batch: on the host.
    """

    preset: Preset
    rule: OptimizerConfig
    partitioner: Partitioner
    shapes: TrainState
    step: Any
    batch: Mapping[str, np.ndarray]

    def begin(self) -> TrainState:
        """A state of the first step."""
        optimizer = make_optimizer(self.rule, logical_axes(self.preset.model))
        return init_state(self.preset.model, optimizer, 0, self.partitioner)[1]


def prepare(model: str, *, optimizer: str, tasks: int = 1, rows: int | None = None) -> Training:
    """Makes ready to train a model of the table of presets, without its state.

    Args:
        model: its name.
        optimizer: name of the rule.
        tasks: that the metrics are split by.
        rows: of the batch; by default the preset's.
    """
    preset = PRESETS[model]
    preset = dataclasses.replace(preset, rows=rows) if rows else preset
    rule = OptimizerConfig(name=optimizer, learning_rate=1e-4)  # type: ignore[arg-type]
    partitioner = make_partitioner(MeshConfig(), devices=jax.devices()[:1])
    made = make_optimizer(rule, logical_axes(preset.model))
    graphdef, shapes = abstract_sharded_state(preset.model, made, partitioner)
    step = compile_train_step(
        shardings_of(shapes),
        partitioner,
        graphdef=graphdef,
        optimizer=made,
        schedule=learning_rate(rule),
        num_tasks=tasks,
    )
    batch = make_batch(preset, padding=0.1, seed=0)
    if preset.model.decoder_only:  # as the feed gives it, and the plan expects it
        batch["decoder_causal_attention"] = np.zeros_like(batch["decoder_segment_ids"])
    return Training(preset, rule, partitioner, shapes, step, batch)
