"""One training step of many runs of one shape: ``train_step`` mapped over a leading ``runs`` axis.

Shapes: R rows, one a run and some that only fill the devices; K tasks.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool

from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.runs_axis import over_runs, own_sharding
from flan_jax.train.finite import TOO_LARGE
from flan_jax.train.grouped_state import GroupState, group_shardings, with_frozen, without_frozen
from flan_jax.train.state import TrainState
from flan_jax.train.step import ALL, PLAIN, Batch, Metrics, train_step
from flan_jax.train.step_config import StepConfig

GroupStepFn = Callable[[GroupState, Batch], tuple[GroupState, Metrics]]


def compile_group_step(
    mesh: Mesh,
    *,
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    num_tasks: int,
    config: StepConfig = PLAIN,
    tuning: TuningConfig = ALL,
    compiler_options: Mapping[str, Any] | None = None,
) -> GroupStepFn:
    """Compiles one step of R runs (at its first call), each the step that it would take alone on one device.

    A run skips a step whose loss or gradient is not finite, as it does alone. One that has skipped
    `StepConfig.max_skipped_steps` in a row, or whose updated state is not finite, keeps the state that it had before this
    step, from then on for good; the others do not notice. The same becomes of one whose batch has no loss token, as a row
    that only fills the devices has none. The host need not be asked.

    Args:
      mesh: of `runs_axis.runs_mesh`; R is a multiple of its devices.
      optimizer: of one run.
      schedule: its learning rate. Where `GroupState.rate` is not 1, a run's updates and learning rate are that
        multiple of it: every optimizer here ends by multiplying with the learning rate, so that is another peak.
      num_tasks: K, the largest of all runs; the metrics of a run with fewer tasks are padded with zeros.
      graphdef, config, tuning, compiler_options: as `compile_train_step` has them.

    Returns:
      (state, batch) -> (state, metrics); the state passed in is donated, but for what is frozen. A batch's arrays are
      [R, B, T]. The metrics are those of `compile_train_step` with a leading axis of R, and `taken` [R]: whether the run
      took the step.
    """

    def one(own: tuple[GroupState, Batch], frozen: Any) -> tuple[GroupState, Metrics]:
        state, batch = own
        before = dataclasses.replace(state.runs, frozen=frozen)
        after, metrics = train_step(
            before,
            batch,
            graphdef=graphdef,
            optimizer=_scaled(optimizer, state.rate),
            schedule=lambda count: state.rate * schedule(count),
            num_tasks=num_tasks,
            config=config,
            tuning=tuning,
        )
        in_a_row = jnp.where(metrics["skipped"] > 0, state.in_a_row + 1, 0)
        goes_on = (metrics["weight"] > 0) & (in_a_row < config.max_skipped_steps)
        taken = state.active & goes_on & _is_sound(after)
        kept = {
            name: jax.tree.map(lambda new, old: jnp.where(taken, new, old), *pair)
            for name, pair in {
                "step": (after.step, before.step),
                "params": (after.params, before.params),
                "opt_state": (after.opt_state, before.opt_state),
                "ema": (after.ema, before.ema),
            }.items()
        }
        runs = dataclasses.replace(state.runs, **kept)
        return dataclasses.replace(state, runs=runs, active=taken, in_a_row=in_a_row), {**metrics, "taken": taken}

    mapped = over_runs(one, mesh)

    def step_beside(own: GroupState, frozen: Any, batch: Batch) -> tuple[GroupState, Metrics]:
        return mapped((own, batch), frozen)

    shardings, own = group_shardings(mesh), own_sharding(mesh)
    compiled = jax.jit(
        step_beside,
        in_shardings=(without_frozen(shardings), shardings.runs.frozen, own),
        out_shardings=(without_frozen(shardings), own),
        donate_argnums=0,
        compiler_options=dict(compiler_options) if compiler_options else None,
    )

    def step(state: GroupState, batch: Batch) -> tuple[GroupState, Metrics]:
        after, metrics = compiled(without_frozen(state), state.runs.frozen, batch)
        return with_frozen(after, state.runs.frozen), metrics

    def lower(state: GroupState, batch: Batch) -> jax.stages.Lowered:
        return compiled.lower(without_frozen(state), state.runs.frozen, batch)

    step.lower = lower  # type: ignore[attr-defined]  # as a function that jax.jit made has it
    return step


def _scaled(optimizer: optax.GradientTransformation, rate: Array) -> optax.GradientTransformation:
    """The optimizer with its updates multiplied; its state is the same."""

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        updates, state = optimizer.update(grads, state, params)
        return jax.tree.map(lambda leaf: leaf * rate.astype(leaf.dtype), updates), state

    return optax.GradientTransformation(optimizer.init, update)


def _is_sound(state: TrainState) -> Bool[Array, ""]:
    """Tells whether what a step left is finite, as `finite.destroyed` asks it."""
    # A comparison, since XLA's maximum of the CPU passes NaN over.
    sound = [jnp.all(jnp.abs(leaf) <= TOO_LARGE) for leaf in jax.tree.leaves(state.params)]
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.stack(sound + [jnp.all(jnp.isfinite(leaf)) for leaf in moments]))
