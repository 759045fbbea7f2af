"""Where weights come from: a run's checkpoints, another run's, or a Hugging Face folder."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from flan_jax.errors import UserError
from flan_jax.experiments import run_dir
from flan_jax.experiments.config import RunConfig
from flan_jax.models.build import abstract_model, logical_axes
from flan_jax.models.huggingface import folder as huggingface_folder
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.sharding import make_mesh, param_shardings
from flan_jax.train.state import check_same_shapes

HF_CONFIG = "config.json"


@dataclasses.dataclass(frozen=True)
class Weights:
    """Parameters to evaluate or to answer with.

    Attributes:
        graphdef: the model's static part.
        params: nested dict of arrays on the devices.
        step: training steps that made them; 0 for weights that come from elsewhere.
    """

    graphdef: nnx.GraphDef
    params: Any
    step: int


def load_weights(config: RunConfig, *, step: int | None = None) -> Weights:
    """The run's checkpoint of ``step`` (default the newest), or else its initial checkpoint.

    Raises:
        UserError: neither is there.
    """
    graphdef, _ = abstract_model(config.model)
    own = Path(config.model_dir) / run_dir.CHECKPOINTS
    if own.is_dir() or not config.initial_checkpoint:
        with Checkpointer(own, create=False) as checkpointer:
            chosen = checkpointer.latest_step() if step is None else step
            params = checkpointer.restore_params(abstract_params(config), chosen)
        return Weights(graphdef, params, chosen or 0)
    if step is not None:
        raise UserError(f"There are no checkpoints in {config.model_dir!r}, so none of step {step}. Leave --step out.")
    return Weights(graphdef, initial_params(config), 0)


def abstract_params(config: RunConfig) -> Any:
    """Shapes, types and places of the parameters, at no memory: what weights are read onto."""
    _, shapes = abstract_model(config.model)
    shardings = param_shardings(logical_axes(config.model), shapes, make_mesh(config.mesh))
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes, shardings
    )


def initial_params(config: RunConfig) -> Any:
    """The weights that ``initial_checkpoint`` names, on the devices; ``None`` where it names nothing.

    Raises:
        UserError: no such folder, neither a run nor a Hugging Face folder, or another model's weights.
    """
    if not config.initial_checkpoint:
        return None
    folder = Path(config.initial_checkpoint).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"INITIAL_CHECKPOINT_PATH {config.initial_checkpoint!r} is no folder here. Give a run's folder or a "
            "downloaded Hugging Face folder (config.json and *.safetensors)."
        )
    if (folder / HF_CONFIG).is_file():
        _, tensors = huggingface_folder.load(folder)
        wanted = abstract_params(config)
        check_same_shapes(tensors, wanted, what=f"The weights in {str(folder)!r} do", than="the configured model")
        return jax.tree.map(lambda leaf, like: jax.device_put(leaf, like.sharding), tensors, wanted)
    checkpoints = folder / run_dir.CHECKPOINTS
    if not checkpoints.is_dir():
        raise UserError(
            f"INITIAL_CHECKPOINT_PATH {config.initial_checkpoint!r} holds neither a folder `checkpoints` nor "
            "config.json. Give a run's folder or a Hugging Face folder."
        )
    with Checkpointer(checkpoints, create=False) as checkpointer:
        return checkpointer.restore_params(abstract_params(config))
