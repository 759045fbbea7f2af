"""Training state, carried from step to step, and the sharding of each leaf."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx, traverse_util
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Key

from flan_jax.errors import UserError
from flan_jax.models.build import ModelConfig, abstract_model, init_model, logical_axes
from flan_jax.models.ops.quantized import QUANTIZED, QuantizedFormat, QuantizedKernel, is_quantized, quantize
from flan_jax.models.parameter_patterns import matched
from flan_jax.models.peft.adapters import attach, attach_axes, join, split
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.peft.storage import cast_params, storage_formats, stored_axes, stored_shapes, whole_shapes
from flan_jax.train.sharding import Partitioner, place


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that decides the rest of a run but the data's position."""

    step: Int[Array, ""]
    """Steps taken."""
    params: dict[str, Any]
    """What is trained: nested dict of float32 arrays, layers stacked on a leading axis."""
    opt_state: Any
    """The optimiser's state."""
    key: Key[Array, ""]
    """Never advanced: the key of step s is `fold_in(key, s)`."""
    frozen: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The rest of the model (`models.adapters.join` puts the two together), which no step changes; {} where all of
    it is trained. It has no optimiser state, and checkpoints leave it out. Of the type that the tuning says."""
    ema: dict[str, Any] = dataclasses.field(default_factory=dict)
    """The moving average of `params` (`StepConfig.ema_decay`), like them; {} where none is kept."""


def new_state(
    params: Any, optimizer: optax.GradientTransformation, key: Key[Array, ""], *, frozen: Any = None, ema: bool = False
) -> TrainState:
    """Returns the state before the first step; with `ema` the average begins as the parameters do."""
    step = jnp.zeros((), jnp.int32)
    average = jax.tree.map(jnp.copy, params) if ema else {}
    return TrainState(step, params, optimizer.init(params), key, frozen=frozen or {}, ema=average)


def abstract_state(
    params: Any, optimizer: optax.GradientTransformation, *, frozen: Any = None, ema: bool = False
) -> TrainState:
    """Returns the state's shapes and types (`jax.ShapeDtypeStruct`), given those of the parameters."""
    return jax.eval_shape(
        lambda tree, rest: new_state(tree, optimizer, jax.random.key(0), frozen=rest, ema=ema), params, frozen or {}
    )


def trained_axes(config: ModelConfig, tuning: TuningConfig) -> Any:
    """Returns the logical axes of what is trained, as `make_optimizer` wants them."""
    return split(attach_axes(logical_axes(config), tuning), tuning)[0]


def abstract_trained(config: ModelConfig, tuning: TuningConfig, partitioner: Partitioner) -> dict[str, Any]:
    """Returns the shapes and shardings of what is trained: what `Checkpointer.restore_params` reads it onto."""
    return abstract_sharded_state(config, optax.identity(), partitioner, tuning=tuning)[1].params


def whole_params(state: TrainState, tuning: TuningConfig, *, ema: bool = False) -> dict[str, Any]:
    """Returns all parameters, as `models.build.merge` takes them; with `ema` the average of what is trained."""
    return join(state.ema if ema else state.params, state.frozen, tuning)


def state_shardings(
    params: Any,
    axes: Any,
    optimizer: optax.GradientTransformation,
    partitioner: Partitioner,
    *,
    frozen: Any = None,
    frozen_axes: Any = None,
    ema: bool = False,
) -> TrainState:
    """Returns a TrainState whose leaves are NamedShardings, one for every leaf of the state.

    A moment of its parameter's shape lies like the parameter. Everything smaller (counters, the row
    and column means of Adafactor) is on every device: it is a few vectors, which every device needs.

    Args:
      params: nested dict of anything with a shape; `axes` the same dict of logical axis names.
      frozen, frozen_axes: the same of what is not trained.
      ema: the state holds an average, which lies as the parameters do.
    """
    of_params = partitioner.params(axes, params)
    by_path = {_names(path): leaf for path, leaf in jax.tree.leaves_with_path(of_params)}
    shapes = {_names(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(params)}

    def place(path: Any, leaf: Any) -> Any:
        names = _names(path)  # the parameter's own path is the end of the moment's
        owner = next((names[start:] for start in range(len(names)) if names[start:] in shapes), None)
        return by_path[owner] if owner is not None and shapes[owner] == leaf.shape else partitioner.replicated()

    abstract = abstract_state(params, optimizer)
    return TrainState(
        step=partitioner.replicated(),  # type: ignore[arg-type]  # a tree of shardings in the state's shape
        params=of_params,
        opt_state=jax.tree.map_with_path(place, abstract.opt_state),
        key=partitioner.replicated(),  # type: ignore[arg-type]
        frozen=partitioner.params(frozen_axes, frozen) if frozen else {},
        ema=of_params if ema else {},
    )


def shardings_of(state: TrainState) -> TrainState:
    """Returns the shardings that the leaves of a live state have."""
    return jax.tree.map(lambda leaf: leaf.sharding, state)


def _names(path: Any) -> tuple[Any, ...]:
    return tuple(part.key for part in path if isinstance(part, jax.tree_util.DictKey))


def init_state(
    config: ModelConfig,
    optimizer: optax.GradientTransformation,
    seed: int,
    partitioner: Partitioner,
    *,
    params: Any = None,
    tuning: TuningConfig | None = None,
    ema: bool = False,
) -> tuple[nnx.GraphDef, TrainState]:
    """Creates the model's graph and a state that is born on its devices.

    The values depend on the seed, never on the mesh.

    Args:
      optimizer: for what is trained (`trained_axes`).
      seed: decides the initial parameters, adapters and all dropout.
      params: start from these (nested dict of host or device arrays) instead of random ones. Device arrays that
        lie as the state's shall, in its types, are not copied: they are the state's from then on.
      tuning: which part is trained; by default all.
      ema: keep an average of what is trained.

    Raises:
      UserError: `params` are not the configured model's, or `tuning` does not fit it.
    """
    tuning = tuning or TuningConfig()
    graphdef, shapes = abstract_model(config)
    axes = logical_axes(config)
    shardings = _shardings(config, optimizer, partitioner, tuning, ema)[1]
    keys = jax.random.split(jax.random.key(seed))
    begin = functools.partial(first_state, config, optimizer, tuning, ema=ema)
    if params is None:
        return graphdef, jax.jit(begin, out_shardings=shardings)(keys)
    check_same_shapes(whole_shapes(params), shapes, what="The given parameters do", than="the configured model")
    of_params = partitioner.params(stored_axes(axes, tuning), stored_shapes(shapes, axes, tuning))
    params = jax.tree.map(placed, params, of_params, storage_formats(axes, tuning), is_leaf=is_quantized)
    # Whatever is kept as it came takes no second copy.
    start = jax.jit(begin, out_shardings=shardings, donate_argnums=1)
    return graphdef, start(keys, params)


def first_state(
    config: ModelConfig,
    optimizer: optax.GradientTransformation,
    tuning: TuningConfig,
    keys: Key[Array, "2"],
    params: Any = None,
    *,
    ema: bool = False,
) -> TrainState:
    """Computes the state before the first step of the run whose seed's key was split into `keys`.

    Args:
      keys: of the initial parameters and adapters, and of all dropout.
      params: start from these instead of random ones.
      ema: keep an average of what is trained.
    """
    axes = logical_axes(config)
    tree = cast_params(init_model(config, keys[0])[1] if params is None else params, axes, tuning)
    trained, frozen = split(attach(tree, axes, tuning, jax.random.fold_in(keys[0], 1)), tuning)
    return new_state(trained, optimizer, keys[1], frozen=frozen, ema=ema)


def placed(leaf: Any, to: Any, storage: str) -> Any:
    """Puts a parameter where it shall live, as it shall be kept; one that is there already is taken as it is.

    Args:
      leaf: an array of the host or of devices, or a quantized kernel.
      to: its sharding; of what is to be quantized a `QuantizedKernel` of them.
      storage: how it is kept.
    """
    if isinstance(leaf, QuantizedKernel):
        return jax.tree.map(_put, leaf, to)  # its codes are of int8, which is no request to quantize them
    if storage in QUANTIZED:
        return quantized_by_layer(leaf.shape, (leaf[layer] for layer in np.ndindex(leaf.shape[:-2])), to, storage)
    if isinstance(leaf, jax.Array) and leaf.sharding == to:
        return leaf if leaf.dtype == storage else leaf.astype(storage)
    return place(np.asarray(leaf, storage), to)


def _put(leaf: Any, to: Any) -> Array:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:  # of several processes none holds it whole
        return jax.device_put(leaf, to)
    return leaf if isinstance(leaf, jax.Array) and leaf.sharding == to else place(np.asarray(leaf), to)


def quantized_by_layer(
    shape: Sequence[int], layers: Iterable[Any], to: QuantizedKernel, storage: QuantizedFormat
) -> QuantizedKernel:
    """Quantizes a stacked kernel as its layers come, so that beside its codes one of them at a time is on the devices.

    Args:
      shape: of the kernel, [..., m, n].
      layers: arrays [m, n] of the host or of devices, in any floating type, in the order of the leading axes.
      to: shardings of codes and scales.
      storage: how it is kept.
    """
    empty, write = _layer_writer(tuple(shape), to, storage)
    kernel, of_layer = empty(), _of_layer(to.codes, len(shape))
    for layer, values in zip(np.ndindex(*shape[:-2]), layers, strict=True):
        # Waited for, since what is only queued holds its layer.
        kernel = jax.block_until_ready(write(kernel, _put(values, of_layer), layer))
    return kernel


@functools.lru_cache(maxsize=64)  # of the kernels of a model, a few shapes each
def _layer_writer(shape: tuple[int, ...], to: QuantizedKernel, storage: QuantizedFormat) -> tuple[Any, Any]:
    def quantized(kernel: Array) -> QuantizedKernel:
        return quantize(kernel, storage, to.axes)

    def empty() -> QuantizedKernel:
        like = jax.eval_shape(quantized, jax.ShapeDtypeStruct(shape, jnp.float32))
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)

    def write(kernel: QuantizedKernel, values: Array, layer: tuple[Array, ...]) -> QuantizedKernel:
        return jax.tree.map(lambda whole, part: whole.at[layer].set(part), kernel, quantized(values))

    return jax.jit(empty, out_shardings=to), jax.jit(write, donate_argnums=0, out_shardings=to)


def _of_layer(stack: Any, dimensions: int) -> NamedSharding:
    """Returns the sharding of one layer of a stack of so many dimensions, whose last two are sharded alike."""
    spec = (*stack.spec, *[None] * (dimensions - len(stack.spec)))
    return NamedSharding(stack.mesh, PartitionSpec(*spec[-2:]))


def _shardings(
    config: ModelConfig,
    optimizer: optax.GradientTransformation,
    partitioner: Partitioner,
    tuning: TuningConfig,
    ema: bool,
) -> tuple[TrainState, TrainState]:
    """The shapes of a configured run's state, and where its leaves live."""
    axes, shapes = logical_axes(config), abstract_model(config)[1]
    trained, frozen = jax.eval_shape(
        lambda tree: split(attach(cast_params(tree, axes, tuning), axes, tuning, jax.random.key(0)), tuning), shapes
    )
    of_trained, of_frozen = split(attach_axes(axes, tuning), tuning)
    abstract = abstract_state(trained, optimizer, frozen=frozen, ema=ema)
    return abstract, state_shardings(
        trained, of_trained, optimizer, partitioner, frozen=frozen, frozen_axes=of_frozen, ema=ema
    )


def abstract_sharded_state(
    config: ModelConfig,
    optimizer: optax.GradientTransformation,
    partitioner: Partitioner,
    *,
    tuning: TuningConfig | None = None,
    ema: bool = False,
) -> tuple[nnx.GraphDef, TrainState]:
    """Returns what `init_state` returns with shapes and shardings for arrays, at no memory.

    It is what a checkpoint is restored onto: no state has to be created only to be overwritten. What is
    frozen is in no checkpoint, so of a run that trains a part the frozen part stays shapes.
    """
    abstract, shardings = _shardings(config, optimizer, partitioner, tuning or TuningConfig(), ema)
    state = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), abstract, shardings
    )
    return abstract_model(config)[0], state


def check_same_shapes(found: Any, wanted: Any, *, what: str, than: str) -> None:
    """Raises a UserError that names the first leaf that is missing, unexpected or of another shape."""
    have = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in jax.tree.leaves_with_path(found)
    }
    want = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in jax.tree.leaves_with_path(wanted)
    }
    wrong = [f"{name} is missing" for name in want if name not in have]
    wrong += [f"{name} is unknown there" for name in have if name not in want]
    wrong += [
        f"{name} has shape {tuple(have[name].shape)}, not {tuple(want[name].shape)}"
        for name in want
        if name in have and tuple(have[name].shape) != tuple(want[name].shape)
    ]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(f"{what} not fit {than}: {wrong[0]}{more}.")


def selected(params: Mapping[str, Any], patterns: Sequence[str]) -> dict[str, Any]:
    """Returns the part of a nested dict whose paths match one of the patterns (`models.parameter_patterns`).

    Raises:
      UserError: a pattern matches no path.
    """
    flat = traverse_util.flatten_dict(dict(params))
    chosen = set().union(*(matched(pattern, list(flat), "matching", "parameter") for pattern in patterns))
    return traverse_util.unflatten_dict({path: leaf for path, leaf in flat.items() if path in chosen})


def present(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of a nested dict whose paths stand in another one."""
    paths = traverse_util.flatten_dict(dict(wanted))
    return traverse_util.unflatten_dict(
        {path: leaf for path, leaf in traverse_util.flatten_dict(dict(found)).items() if path in paths}
    )


def to_plain_dict(state: TrainState) -> dict[str, Any]:
    """Returns nested dictionaries with string keys only; the random key as its uint32 data; nothing that is frozen."""
    result: dict[str, Any] = {}
    for path, leaf in jax.tree.leaves_with_path(dataclasses.replace(state, frozen={})):
        *folders, name = (jax.tree_util.keystr((part,), simple=True) for part in path)
        node = result
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = _plain(leaf)
    return result


def _plain(leaf: Any) -> Any:
    if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
        data = jax.eval_shape(jax.random.key_data, leaf)
        return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=leaf.sharding)
    return jax.random.key_data(leaf)


def from_plain_dict(saved: dict[str, Any], like: TrainState) -> TrainState:
    """Reverses `to_plain_dict`; what is frozen is that of `like`."""

    def find(path: Any, leaf: Any) -> Any:
        node: Any = saved
        for part in path:
            node = node[jax.tree_util.keystr((part,), simple=True)]
        return jax.random.wrap_key_data(node) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else node

    found = jax.tree.map_with_path(find, dataclasses.replace(like, frozen={}))
    return dataclasses.replace(found, frozen=like.frozen)
