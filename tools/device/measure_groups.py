"""Small models of one shape trained together against one after another, as a study's groups are."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from device.cases import packed_batch, proxy
from device.timing import seconds_a_call

from flan_jax.models.build import num_params
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.runs_axis import own_sharding, runs_mesh
from flan_jax.train.grouped_state import init_group_state
from flan_jax.train.grouped_step import compile_group_step
from flan_jax.train.optimizer import OptimizerConfig, learning_rate, make_optimizer
from flan_jax.train.sharding import MeshConfig, make_partitioner
from flan_jax.train.state import init_state, shardings_of, trained_axes
from flan_jax.train.step import compile_train_step

SIZES = (1, 16, 64)
STEPS = 3
"""Behind which the losses of a run in a group and alone are compared."""
TOLERANCE = 5e-3
"""Of the loss, as a share of it: products of float32 are rounded to ten bits on a GPU, in another order in a group."""


def measure(settings: Mapping[str, Any], report: Callable[..., None]) -> None:
    small = settings["small"]
    model, (rows, length) = proxy(small), (2, 16) if small else (8, 256)
    budget = 0.2 if small else 2.0
    batches = [packed_batch(model, rows, 0, length, seed=seed) for seed in range(max(SIZES))]
    report(parameters=num_params(model), rows=rows, length=length, tolerance=TOLERANCE)
    losses, alone_s = _alone(model, batches[-1], max(SIZES) - 1, budget)
    report(alone={"step_s": alone_s, "losses": losses})
    for size in SIZES:
        # The last run is the one that was trained alone.
        group_losses, group_s = _together(model, batches[-size:], range(max(SIZES) - size, max(SIZES)), budget)
        difference = max(abs(a - b) / abs(b) for a, b in zip(group_losses, losses, strict=True))
        report(
            **{
                f"runs_{size}": {
                    "step_s": group_s,
                    "losses_of_last": group_losses,
                    "difference": difference if np.isfinite(difference) else 1e300,
                    "faster_than_alone": size * alone_s["median"] / group_s["median"],
                }
            }
        )


def _rule(model: DecoderConfig) -> tuple[Any, Any]:
    config = OptimizerConfig(name="adamw", learning_rate=1e-3)
    return make_optimizer(config, trained_axes(model, TuningConfig())), learning_rate(config)


def _alone(model: DecoderConfig, batch: Any, seed: int, budget: float) -> tuple[list[float], dict[str, Any]]:
    partitioner = make_partitioner(MeshConfig(), devices=jax.devices()[:1])
    optimizer, schedule = _rule(model)
    graphdef, state = init_state(model, optimizer, seed, partitioner)
    step = compile_train_step(
        shardings_of(state), partitioner, graphdef=graphdef, optimizer=optimizer, schedule=schedule, num_tasks=1
    )
    return _measured(step, state, partitioner.shard_batch(batch), lambda loss: float(loss), budget)


def _together(model: DecoderConfig, batches: Any, seeds: range, budget: float) -> tuple[list[float], dict[str, Any]]:
    mesh = runs_mesh(jax.devices()[:1])
    optimizer, schedule = _rule(model)
    graphdef, state = init_group_state(model, optimizer, list(seeds), mesh)
    step = compile_group_step(mesh, graphdef=graphdef, optimizer=optimizer, schedule=schedule, num_tasks=1)
    stacked = {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}
    placed = jax.device_put(stacked, own_sharding(mesh))
    return _measured(step, state, placed, lambda loss: float(loss[len(batches) - 1]), budget)


def _measured(
    step: Callable[..., Any], state: Any, batch: Any, loss_of: Callable[[Any], float], budget: float
) -> tuple[list[float], dict[str, Any]]:
    """Returns the losses of the first steps, and the time of those behind them."""
    held, losses = [state], []

    def take() -> Any:
        held[0], metrics = step(held[0], batch)
        return metrics["loss"]

    for _ in range(STEPS):
        losses.append(loss_of(take()))
    return losses, seconds_a_call(take, budget_s=budget)
