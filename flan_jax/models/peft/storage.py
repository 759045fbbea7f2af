"""Storage of a model's parameters on the devices: in float32, in 16 bits, or in few bits.

``TuningConfig.storage_format`` says it of each parameter. A kernel in few bits is a ``QuantizedKernel`` in the trees
of arrays, of shapes, of logical axes and of shardings alike.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from flan_jax.models.ops.quantized import QUANTIZED, QuantizedKernel, dequantize, is_quantized, quantize, whole_shape
from flan_jax.models.peft.config import FrozenDtype, TuningConfig

Tree = dict[str, Any]


def storage_formats(axes: Mapping[str, Any], tuning: TuningConfig) -> Tree:
    """Returns how each of the model's own parameters is kept, in the structure of its logical axes."""
    flat = traverse_util.flatten_dict(dict(axes))
    return traverse_util.unflatten_dict({path: tuning.storage_format(path, axis) for path, axis in flat.items()})


def cast_params(params: Mapping[str, Any], axes: Mapping[str, Any], tuning: TuningConfig) -> Tree:
    """Casts the model's own parameters to how they are kept (``TuningConfig.frozen_dtype``); what is so already stays."""
    return jax.tree.map(_cast, dict(params), storage_formats(axes, tuning), dict(axes), is_leaf=is_quantized)


def _cast(leaf: Any, storage: FrozenDtype, axes: tuple[str | None, ...]) -> Any:
    if isinstance(leaf, QuantizedKernel):
        return leaf
    return quantize(leaf, storage, (axes[-2], axes[-1])) if storage in QUANTIZED else leaf.astype(storage)


def stored_axes(axes: Mapping[str, Any], tuning: TuningConfig) -> Tree:
    """Returns the logical axes of ``cast_params``'s result: of a quantized kernel those of its codes and its scales."""
    flat = traverse_util.flatten_dict(dict(axes))
    return traverse_util.unflatten_dict(
        {path: _stored_axis(axis, tuning.storage_format(path, axis)) for path, axis in flat.items()}
    )


def _stored_axis(axis: tuple[str | None, ...], storage: FrozenDtype) -> Any:
    if storage not in QUANTIZED:
        return axis
    *layers, inputs, outputs = axis
    scale = (*layers, inputs if storage == "nf4" else None, outputs)
    return QuantizedKernel(axis, scale, storage, (inputs, outputs))  # type: ignore[arg-type]  # names in the place of arrays


def stored_shapes(shapes: Mapping[str, Any], axes: Mapping[str, Any], tuning: TuningConfig) -> Tree:
    """Returns the shapes and dtypes of ``cast_params``'s result (``jax.ShapeDtypeStruct``), given those of the parameters."""
    return jax.eval_shape(lambda tree: cast_params(tree, axes, tuning), dict(shapes))


def whole_shapes(params: Mapping[str, Any]) -> Tree:
    """Returns the shape of every parameter, of a quantized one that of its kernel (``jax.ShapeDtypeStruct``)."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(whole_shape(leaf), np.float32), dict(params), is_leaf=is_quantized
    )


def dequantized(params: Mapping[str, Any]) -> Tree:
    """Returns the parameters with the float32 numbers of every quantized kernel in its place."""
    return jax.tree.map(
        lambda leaf: dequantize(leaf) if isinstance(leaf, QuantizedKernel) else leaf, dict(params), is_leaf=is_quantized
    )
