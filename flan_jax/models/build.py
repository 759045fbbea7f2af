"""Models as a static graph and a plain nested dictionary of arrays.

The dictionary is what training shards, optimises and saves; nothing of NNX is in it.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from flan_jax.models.config import ModelConfig as ModelConfig
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.model import Decoder
from flan_jax.models.ops.typing import Key
from flan_jax.models.protocol import Axes, Model
from flan_jax.models.t5.config import T5Config
from flan_jax.models.t5.model import T5
from flan_jax.models.t5gemma.config import T5GemmaConfig
from flan_jax.models.t5gemma.model import T5Gemma

Params = dict[str, Any]
_CLASSES: dict[type, type[Model]] = {T5Config: T5, T5GemmaConfig: T5Gemma, DecoderConfig: Decoder}


def init_model(config: ModelConfig, key: Key) -> tuple[nnx.GraphDef, Params]:
    """Initializes a model.

    Args:
        config: sizes.
        key: decides every initial value.

    Returns:
        The static graph (hashable, equal for equal configurations) and the parameters: float32, with the
        layers of a stack on a leading axis. Under ``jax.jit``, return the parameters only and take the
        graph from ``abstract_model``.
    """
    return abstract_model(config)[0], _init_params(config, key)


@functools.partial(jax.jit, static_argnums=0)
def _init_params(config: ModelConfig, key: Key) -> Params:
    return nnx.to_pure_dict(nnx.state(_new(config, nnx.Rngs(params=key))))


def model_class(config: ModelConfig) -> type[Model]:
    """Returns the class of the model that a configuration describes."""
    return _CLASSES[type(config)]


def _new(config: ModelConfig, rngs: nnx.Rngs) -> Any:
    make: Any = model_class(config)
    return make(config, rngs=rngs)


def abstract_model(config: ModelConfig) -> tuple[nnx.GraphDef, Params]:
    """Returns what ``init_model`` does, with ``jax.ShapeDtypeStruct`` for arrays: no memory, whatever the size."""
    graphdef, params = _abstract_model(config)
    return graphdef, jax.tree.map(lambda leaf: leaf, params)  # dictionaries of the caller's own


@functools.lru_cache(maxsize=32)  # a run asks five times, and tracing a model takes half a second
def _abstract_model(config: ModelConfig) -> tuple[nnx.GraphDef, Params]:
    graphdef, state = nnx.split(nnx.eval_shape(lambda: _new(config, nnx.Rngs(params=0))))
    return graphdef, nnx.to_pure_dict(state)


def abstract_params(config: ModelConfig) -> Params:
    """Returns the shapes and dtypes of all parameters, as ``jax.ShapeDtypeStruct``."""
    return abstract_model(config)[1]


def num_params(config: ModelConfig) -> int:
    """Counts the parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(abstract_params(config)))


def merge(graphdef: nnx.GraphDef, params: Mapping[str, Any]) -> Model:
    """Merges the graph and parameters into a model; NumPy arrays, such as imported weights, become JAX's.

    A kernel may be a ``LowRank``, and beside the model's own parameters there may be a ``prompt [P, D]``
    (``adapters.attach``): vectors as the embedding table's, that stand in front of the encoder's inputs, or of a
    decoder's row.
    """
    own = {name: value for name, value in params.items() if name != "prompt"}
    model = nnx.merge(graphdef, jax.tree.map(jnp.asarray, own))
    if "prompt" in params:
        model.prompt = nnx.Param(jnp.asarray(params["prompt"]))
    return model


def apply(
    graphdef: nnx.GraphDef, params: Mapping[str, Any], batch: Mapping[str, Any], *, dropout_key: Key | None = None
) -> Float[Array, "B T V"]:
    """Computes the model's float32 logits on a batch; see ``T5.__call__`` and ``Decoder.__call__``."""
    return merge(graphdef, params)(batch, dropout_key=dropout_key)


def logical_axes(config: ModelConfig) -> Axes:
    """Returns the parameters' tree with a tuple of logical axis names for each array.

    ``layers``; ``vocab``; ``embed`` (the residual stream); ``mlp`` (inside the feed-forward); ``heads``
    (all heads side by side in projections, one number a head in the position bias); ``buckets`` (of
    distances). Training maps the names to mesh axes; no model file knows of a mesh. ``None`` is an axis
    that is never split.
    """
    return model_class(config).logical_axes(config)
