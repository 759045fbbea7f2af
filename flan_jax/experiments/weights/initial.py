"""Initial weights: from a run's checkpoints, another run's, or a Hugging Face folder."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx, traverse_util

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.run_folder.fetched_run import model_folder
from flan_jax.experiments.weights.base_check import check_same_model
from flan_jax.experiments.weights.frozen_base import check_same_base, tuning_of
from flan_jax.models import build
from flan_jax.models.build import abstract_model, logical_axes
from flan_jax.models.huggingface import peft
from flan_jax.models.huggingface import reader as huggingface_folder
from flan_jax.models.ops.linear import LowRank
from flan_jax.models.ops.quantized import QUANTIZED, QuantizedKernel
from flan_jax.models.parameter_patterns import matched
from flan_jax.models.peft.adapters import join, split
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.peft.storage import cast_params, stored_axes, stored_shapes, whole_shapes
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.checkpoint_stream import ParamPath, StoredParams
from flan_jax.train.finite import not_finite
from flan_jax.train.sharding import make_partitioner, place
from flan_jax.train.state import abstract_trained, check_same_shapes, placed, quantized_by_layer
from flan_jax.train.step_folders import step_folders

_LOG = logging.getLogger(__name__)
HF_CONFIG = "config.json"
INITIAL_PARAMETERS = "run.initial_parameters (INITIAL_PARAMETERS)"


@dataclasses.dataclass(frozen=True)
class Weights:
    """Parameters to evaluate or to answer with.

    Attributes:
        graphdef: the model's static part.
        params: nested dict of arrays on the devices; of a run that trains a part, with adapters and prompt beside
            the model's own (``models.adapters``, whose ``merged_params`` makes plain ones of them).
        step: training steps that made them; 0 for weights that come from elsewhere.
    """

    graphdef: nnx.GraphDef
    params: Any
    step: int


def load_weights(config: RunConfig, *, step: int | None = None) -> Weights:
    """Loads the run's checkpoint of ``step`` (default the newest), or else its initial checkpoint.

    With ``EvalConfig.ema`` it is the average of the trained weights.

    Step 0 is what the run began with, without adapters, where no checkpoint of it was kept.

    Raises:
        UserError: neither is there.
    """
    graphdef, _ = abstract_model(config.model)
    own = Path(config.model_dir) / run_files.CHECKPOINTS
    if step == 0 and 0 not in step_folders(own):
        return Weights(graphdef, base_params(config), 0)
    if own.is_dir() or not config.initial_checkpoint:
        with Checkpointer(own, create=False) as checkpointer:
            chosen = checkpointer.latest_step() if step is None else step
            params = _restored(config, checkpointer, chosen)
            check_finite(
                params,
                f"The weights of step {chosen} in {config.model_dir!r}",
                allowed=_may_be_any(checkpointer, chosen),
            )
        return Weights(graphdef, params, chosen or 0)
    if step is not None:
        raise _none_of_step(config, step)
    return Weights(graphdef, initial_params(config), 0)


def check_step(config: RunConfig, step: int | None) -> None:
    """Checks that ``load_weights`` finds what it will be asked for, without reading it.

    Raises:
        UserError: no checkpoint of this step.
    """
    own = Path(config.model_dir) / run_files.CHECKPOINTS
    if step == 0 and 0 not in step_folders(own):
        return
    if own.is_dir() or not config.initial_checkpoint:
        with Checkpointer(own, create=False) as checkpointer:
            checkpointer.check_step(step)
    elif step is not None:
        raise _none_of_step(config, step)


def _none_of_step(config: RunConfig, step: int) -> UserError:
    return UserError(f"There are no checkpoints in {config.model_dir!r}, so none of step {step}. Leave --step out.")


def _restored(config: RunConfig, checkpointer: Checkpointer, step: int | None) -> Any:
    """All parameters of a run: a checkpoint's, on top of what it leaves out."""
    tuning, part = config.tuning, "ema" if config.evaluation.ema else "params"
    if not tuning.partial:
        return checkpointer.restore_params(abstract_params(config), step, part=part)
    return join(_trained(config, checkpointer, step), split(base_params(config), tuning)[1], tuning)


def _trained(config: RunConfig, checkpointer: Checkpointer, step: int | None) -> Any:
    """Restores what a run trained of a part of its model, where its base is the one that it was trained on."""
    like = abstract_trained(config.model, config.tuning, make_partitioner(config.mesh))
    trained = checkpointer.restore_params(like, step, part="ema" if config.evaluation.ema else "params")
    check_same_base(checkpointer.config(step), config)
    return trained


def load_trained(config: RunConfig, *, step: int | None = None) -> Any:
    """Loads adapters, prompt and whatever else a run trained of a part of its model, and nothing of its base.

    Raises:
        UserError: no such checkpoint, or the base is not the one that the run was trained on.
    """
    with Checkpointer(Path(config.model_dir) / run_files.CHECKPOINTS, create=False) as checkpointer:
        chosen = checkpointer.check_step(step)
        return check_finite(
            _trained(config, checkpointer, chosen),
            f"The weights of step {chosen} in {config.model_dir!r}",
            allowed=_may_be_any(checkpointer, chosen),
        )


def base_params(config: RunConfig) -> Any:
    """Loads the weights that a run begins with: its initial checkpoint's, or those that its seed decides."""
    return initial_params(config) if config.initial_checkpoint else _drawn_params(config)


def _drawn_params(config: RunConfig) -> Any:
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_params(config))
    key = jax.random.split(jax.random.key(config.seed))[0]
    axes = logical_axes(config.model)
    return jax.jit(
        lambda key: cast_params(build.init_model(config.model, key)[1], axes, config.tuning), out_shardings=shardings
    )(key)


def abstract_params(config: RunConfig) -> Any:
    """Shapes, types and places of the parameters, at no memory: what weights are read onto."""
    _, shapes = abstract_model(config.model)
    axes = logical_axes(config.model)
    config.tuning.check(axes)
    stored = stored_shapes(shapes, axes, config.tuning)
    shardings = make_partitioner(config.mesh).params(stored_axes(axes, config.tuning), stored)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), stored, shardings
    )


def with_float32_base(tuning: TuningConfig) -> TuningConfig:
    """Returns the tuning with what is frozen as it was read: where it is added up, not trained on."""
    return dataclasses.replace(tuning, frozen_dtype="float32")


def initial_params(config: RunConfig) -> Any:
    """Loads the weights that ``initial_checkpoint`` names onto the devices; ``None`` where it names nothing.

    Those of ``initial_adapter`` are added. What the run freezes comes in the type in which it is kept: a model that
    is read as it is goes to the devices so, and never in float32. With ``initial_parameters`` the others are those that
    the seed decides.

    Raises:
        UserError: no such folder, neither a run nor a Hugging Face folder, another model's weights, or a pattern that
            matches no parameter.
    """
    if not config.initial_checkpoint:
        return None
    params = _checkpoint_params(config)
    if config.initial_parameters:
        every, found = (traverse_util.flatten_dict(tree) for tree in (_drawn_params(config), params))
        return traverse_util.unflatten_dict(every | found)
    if not config.initial_adapter:
        return params
    tuning, trained = peft.load(config.initial_adapter, config.model)
    return _as_wanted(join(trained, split(params, tuning)[1], tuning), config)


def _as_wanted(whole: Any, config: RunConfig) -> Any:
    """With the adapters added to their kernels, in the run's types and places; a prompt stays beside them as it is."""
    wanted, result = traverse_util.flatten_dict(abstract_params(config)), {}
    for path, leaf in traverse_util.flatten_dict(whole).items():
        # One after the other, since a sum is of float32 until it is as the run keeps it.
        plain = leaf.whole() if isinstance(leaf, LowRank) else leaf
        like = wanted.get(path)
        result[path] = jnp.asarray(plain) if like is None else _kept_as(plain, like)
    return traverse_util.unflatten_dict(result)


def _kept_as(values: Any, like: Any) -> Any:
    """Puts a parameter of the host or of devices where ``like`` lies, kept as it is."""
    if isinstance(like, QuantizedKernel):
        return placed(values, jax.tree.map(lambda leaf: leaf.sharding, like), like.format)
    if isinstance(values, jax.Array):
        return jax.device_put(values.astype(like.dtype), like.sharding)
    return place(values.astype(like.dtype, copy=False), like.sharding)


def chosen_parameters(config: RunConfig) -> set[ParamPath]:
    """Returns the paths of the parameters that a run takes from its initial checkpoint.

    Raises:
        UserError: a pattern of ``initial_parameters`` matches none.
    """
    paths = list(traverse_util.flatten_dict(logical_axes(config.model)))
    if not config.initial_parameters:
        return set(paths)
    return set().union(*(matched(each, paths, INITIAL_PARAMETERS, "parameter") for each in config.initial_parameters))


def takes_embeddings(config: RunConfig) -> bool:
    """Tells whether a run takes parameters from its initial checkpoint that stand for pieces of text, one a row or column."""
    axes = traverse_util.flatten_dict(logical_axes(config.model))
    return any("vocab" in axes[path] for path in chosen_parameters(config))


def chosen_note(config: RunConfig) -> str:
    """Says in a sentence what a run takes from its initial checkpoint; ``""`` where that is all or nothing."""
    if not config.initial_parameters:
        return ""
    shapes = traverse_util.flatten_dict(build.abstract_params(config.model))
    chosen = chosen_parameters(config)
    share = sum(shapes[path].size for path in chosen) / sum(leaf.size for leaf in shapes.values())
    return (
        f"{len(chosen)} of {len(shapes)} parameters ({share:.1%} of the numbers) are taken from {config.initial_checkpoint!r} "
        f"(INITIAL_PARAMETERS); the others begin as seed {config.seed} draws them"
    )


def _only(params: Any, paths: set[ParamPath]) -> Any:
    """The parameters with these paths."""
    flat = traverse_util.flatten_dict(params)
    return traverse_util.unflatten_dict({path: leaf for path, leaf in flat.items() if path in paths})


def _checkpoint_params(config: RunConfig) -> Any:
    """Those of the initial checkpoint that the run takes, all of them where it names none."""
    chosen = chosen_parameters(config)
    try:
        folder = model_folder(config.initial_checkpoint)
    except UserError as error:
        raise UserError(f"INITIAL_CHECKPOINT_PATH: {error}") from None
    checkpoints = folder / run_files.CHECKPOINTS
    tuning, theirs = tuning_of(folder)
    # Of some parameters the shapes decide: the rest of the model may be another.
    if (checkpoints.is_dir() or (folder / HF_CONFIG).is_file()) and (tuning.partial or not config.initial_parameters):
        check_same_model(folder, config)
    if checkpoints.is_dir():  # a run's, or imported: that also has a config.json
        with Checkpointer(checkpoints, create=False) as checkpointer:
            what, allowed = f"The weights in {config.initial_checkpoint!r}", _may_be_any(checkpointer, None)
            if not tuning.partial:
                return check_finite(_saved_params(config, checkpointer, chosen), what, allowed=allowed)
            their_run = config.with_options(
                model_dir=str(folder),
                initial_checkpoint=theirs["initial_checkpoint"],
                initial_adapter=theirs.get("initial_adapter", ""),
                initial_parameters=tuple(theirs.get("initial_parameters", ())),
                seed=theirs["seed"],
                tuning=with_float32_base(tuning),
                pack=theirs["pack"],
            )
            whole = check_finite(_restored(their_run, checkpointer, None), what, allowed=allowed)
            return _as_wanted(_only(whole, chosen) if config.initial_parameters else whole, config)
    if (folder / HF_CONFIG).is_file():
        return placed_from_huggingface(folder, config, chosen)
    raise UserError(
        f"INITIAL_CHECKPOINT_PATH {config.initial_checkpoint!r} holds neither a folder `checkpoints` nor "
        "config.json. Give a run's folder or a Hugging Face folder."
    )


def _saved_params(config: RunConfig, checkpointer: Checkpointer, chosen: set[ParamPath]) -> Any:
    """These parameters of a checkpoint whose run trained all, kept as this run keeps them.

    What is quantized is read and quantized layer by layer: of no kernel more than a layer is in memory as it was saved,
    where its checkpoint is chunked so.
    """
    like = abstract_params(config)
    if config.tuning.frozen_dtype not in QUANTIZED:
        return checkpointer.restore_params(like, matching=config.initial_parameters)
    saved, params = StoredParams(checkpointer.directory), {}
    what = f"The arrays of step {saved.step} in {str(checkpointer.directory)!r} do"
    for path, leaf in traverse_util.flatten_dict(_only(like, chosen)).items():
        name, found = "/".join(path), jax.ShapeDtypeStruct(saved.shape(path), jnp.float32)
        check_same_shapes({name: found}, whole_shapes({name: leaf}), what=what, than="the configured run")
        if isinstance(leaf, QuantizedKernel) and len(found.shape) == 3 and saved.by_layer(path):
            layers = (saved.read(path, layer, widened=False) for layer in range(found.shape[0]))
            to = jax.tree.map(lambda part: part.sharding, leaf)
            params[path] = quantized_by_layer(found.shape, layers, to, leaf.format)
        else:
            params[path] = _kept_as(saved.read(path, widened=False), leaf)
    return traverse_util.unflatten_dict(params)


def check_finite(params: Any, what: str, *, allowed: bool = False) -> Any:
    """Returns the parameters, none of which is infinite or no number.

    Args:
        params: nested dict of arrays.
        what: they are, as the beginning of a sentence.
        allowed: they were taken with such numbers on purpose, so that it is said only.

    Raises:
        UserError: some are, and that was not asked for.
    """
    wrong = not_finite(params)
    if wrong is not None and not allowed:
        raise UserError(
            f"{what} cannot be used: {wrong}, as a training that diverged leaves them. Take an earlier step, or other weights."
        )
    if wrong is not None:
        _LOG.warning(f"{what} were imported with --allow_nonfinite: {wrong}.")
    return params


def _may_be_any(checkpointer: Checkpointer, step: int | None) -> bool:
    """Tells whether a checkpoint was imported with numbers that are not finite, as somebody asked."""
    return allows_nonfinite(checkpointer.extra(step))


def allows_nonfinite(extra: Mapping[str, Any]) -> bool:
    """Tells whether what stands beside a checkpoint says that its weights may be infinite or no numbers."""
    return bool(extra.get("imported", {}).get("allow_nonfinite"))


def placed_from_huggingface(folder: Path, config: RunConfig, chosen: set[ParamPath]) -> Any:
    """Loads the weights of a Hugging Face folder onto the devices, one parameter on the host at a time.

    Args:
        folder: with `config.json` and safetensors.
        config: the run.
        chosen: the parameters to load.

    Raises:
        UserError: they are another model's than the run's, or cannot be read.
    """
    theirs = huggingface_folder.read_config(folder, dtype=config.model.dtype)
    wanted, what = _only(abstract_params(config), chosen), f"The weights in {str(folder)!r} do"
    there = build.abstract_params(theirs)
    there = _only(there, chosen) if config.initial_parameters else there
    check_same_shapes(there, whole_shapes(wanted), what=what, than="the configured model")
    like = traverse_util.flatten_dict(wanted)
    params = {
        path: _kept_as(values, like[path])
        for path, values in huggingface_folder.stream(folder, theirs)
        if path in chosen
    }
    return traverse_util.unflatten_dict(params)
