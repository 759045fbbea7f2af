"""The states of runs that are trained together, and the sharding of each leaf.

Shapes: R rows, one a run and, behind them, some that only fill the devices.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from flan_jax.models.build import ModelConfig, abstract_model, init_model, logical_axes
from flan_jax.models.ops.quantized import is_quantized
from flan_jax.models.peft.adapters import split
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.peft.storage import cast_params, storage_formats, stored_shapes, whole_shapes
from flan_jax.models.runs_axis import over_runs, own_sharding, padded_rows, shared_sharding
from flan_jax.train.sharding import MESH_AXES, Partitioner
from flan_jax.train.state import TrainState, abstract_sharded_state, check_same_shapes, first_state, placed


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GroupState:
    """The states of R runs that are trained together."""

    runs: TrainState
    """Of each run: all arrays but `frozen` have a leading axis of R; what is frozen is there once, for all of them."""
    active: Bool[Array, "R"]
    """False for a run that has diverged or has no more data, and for a row that only fills the devices."""
    rate: Float[Array, "R"]
    """The learning rate of each run, as a multiple of the optimizer's."""
    in_a_row: Int[Array, "R"]
    """Of each run: its last steps that were skipped, one after the other."""

    @property
    def step(self) -> Int[Array, "R"]:
        """Steps taken by each run."""
        return self.runs.step


def group_shardings(mesh: Mesh) -> GroupState:
    """Returns where the parts of a state lie, a sharding for each whole part: a prefix of the state's tree."""
    own: Any = own_sharding(mesh)
    runs = TrainState(step=own, params=own, opt_state=own, key=own, ema=own, frozen=shared_sharding(mesh))  # type: ignore[arg-type]
    return GroupState(runs, own, own, own)


def without_frozen(state: GroupState) -> GroupState:
    """Returns the state without what no step changes."""
    return with_frozen(state, {})


def with_frozen(state: GroupState, frozen: dict[str, Any]) -> GroupState:
    """Returns the state with that for the frozen part of the model."""
    return dataclasses.replace(state, runs=dataclasses.replace(state.runs, frozen=frozen))


def init_group_state(
    config: ModelConfig,
    optimizer: optax.GradientTransformation,
    seeds: Sequence[int],
    mesh: Mesh,
    *,
    rows: int = 0,
    rates: Sequence[float] | None = None,
    params: Any = None,
    tuning: TuningConfig | None = None,
    ema: bool = False,
) -> tuple[nnx.GraphDef, GroupState]:
    """Creates the states that `init_state` gives runs with these seeds, each born on its device.

    Args:
      optimizer: of one run, for what is trained (`trained_axes`).
      seeds: of each run. Where a part is trained on top of random weights, those are of the first seed.
      mesh: of `runs_axis.runs_mesh`.
      rows: the fewest rows; those beyond the runs are filled, and not active.
      rates: learning rates of the runs as multiples of the optimizer's; by default 1.
      params: start from these instead of random ones, all runs from the same.
      tuning: which part is trained; by default all.
      ema: keep an average of what is trained.

    Raises:
      UserError: `params` are not the configured model's, or `tuning` does not fit it.
    """
    tuning = tuning or TuningConfig()
    count, rows = len(seeds), padded_rows(max(rows, len(seeds)), mesh)
    graphdef, shapes = abstract_model(config)
    axes, shared = logical_axes(config), shared_sharding(mesh)
    keys = jnp.stack([jax.random.split(jax.random.key(seed)) for seed in [*seeds, *[seeds[-1]] * (rows - count)]])
    if params is not None:
        check_same_shapes(whole_shapes(params), shapes, what="The given parameters do", than="the configured model")
        everywhere = jax.tree.map(lambda _: shared, stored_shapes(shapes, axes, tuning))
        params = jax.tree.map(placed, params, everywhere, storage_formats(axes, tuning), is_leaf=is_quantized)
    elif tuning.partial:
        draw = jax.jit(lambda key: cast_params(init_model(config, key)[1], axes, tuning), out_shardings=shared)
        params = draw(keys[0, 0])

    runs = _first_states(config, optimizer, tuning, mesh, ema)(jax.device_put(keys, own_sharding(mesh)), params)
    if params is not None:  # the frozen arrays themselves: of what is not adapted there is no copy
        runs = dataclasses.replace(runs, frozen=split(params, tuning)[1])
    return graphdef, GroupState(runs, *_per_run(count, rows, rates, mesh))


@functools.lru_cache(maxsize=8)  # groups of one shape begin by one program
def _first_states(
    config: ModelConfig, optimizer: optax.GradientTransformation, tuning: TuningConfig, mesh: Mesh, ema: bool
) -> Callable[[Array, Any], TrainState]:
    """Compiles (keys [R, 2], params) -> the states that runs begin with, without what is frozen."""

    def begin(keys: Array, params: Any) -> TrainState:
        return dataclasses.replace(first_state(config, optimizer, tuning, keys, params, ema=ema), frozen={})

    return jax.jit(over_runs(begin, mesh), out_shardings=own_sharding(mesh))


def abstract_group_state(
    config: ModelConfig,
    optimizer: optax.GradientTransformation,
    rows: int,
    mesh: Mesh,
    tuning: TuningConfig,
    *,
    ema: bool = False,
) -> GroupState:
    """Returns the shapes and shardings of a group's state, at no memory."""
    alone = Partitioner(jax.make_mesh((1, 1, 1), MESH_AXES, devices=[mesh.devices.item(0)]))
    one = abstract_sharded_state(config, optimizer, alone, tuning=tuning, ema=ema)[1]
    own, shared = own_sharding(mesh), shared_sharding(mesh)
    frozen = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=shared), one.frozen)
    runs = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((rows, *leaf.shape), leaf.dtype, sharding=own),
        dataclasses.replace(one, frozen={}),
    )
    of_rows = (jax.ShapeDtypeStruct((rows,), dtype, sharding=own) for dtype in (np.bool_, np.float32, np.int32))
    return GroupState(dataclasses.replace(runs, frozen=frozen), *of_rows)  # type: ignore[arg-type]


def _per_run(count: int, rows: int, rates: Sequence[float] | None, mesh: Mesh) -> tuple[Array, ...]:
    """Puts on the devices whether each row is active, its learning rate, and that it has skipped no step."""
    rate = np.ones(rows, np.float32)
    rate[:count] = 1.0 if rates is None else rates
    return tuple(jax.device_put([np.arange(rows) < count, rate, np.zeros(rows, np.int32)], own_sharding(mesh)))


def with_active(
    state: GroupState, active: Sequence[bool] | np.ndarray, in_a_row: Sequence[int] | np.ndarray = ()
) -> GroupState:
    """Returns the state with these of its rows active; the first rows have skipped so many steps in a row."""
    skipped = np.zeros(len(active), np.int32)
    skipped[: len(in_a_row)] = in_a_row
    place = state.active.sharding
    return dataclasses.replace(
        state, active=jax.device_put(np.asarray(active, bool), place), in_a_row=jax.device_put(skipped, place)
    )


def abstract_runs(state: GroupState, rows: int, sharding: jax.sharding.Sharding) -> TrainState:
    """Returns the shapes of as many runs, to restore a checkpoint onto; what is frozen stays as it is."""

    def shape(leaf: Any) -> Any:
        return jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype, sharding=sharding)

    return dataclasses.replace(
        jax.tree.map(shape, dataclasses.replace(state.runs, frozen={})), frozen=state.runs.frozen
    )


def refilled(runs: TrainState, count: int, rows: int, mesh: Mesh) -> TrainState:
    """Puts the first `count` of saved runs on a mesh, with as many rows as it takes; those behind them repeat the last."""
    if len(runs.step) == rows:
        return runs
    index = np.minimum(np.arange(rows), count - 1)
    whole = jax.device_put(dataclasses.replace(runs, frozen={}), shared_sharding(mesh))
    take = jax.jit(functools.partial(jax.tree.map, lambda leaf: leaf[index]), out_shardings=own_sharding(mesh))
    return dataclasses.replace(take(whole), frozen=runs.frozen)


def run_state(state: GroupState, index: int) -> TrainState:
    """Returns the state of one run, as it would have it alone: copies but of what is frozen."""
    runs = jax.tree.map(lambda leaf: leaf[index], dataclasses.replace(state.runs, frozen={}))
    return dataclasses.replace(runs, frozen=state.runs.frozen)
