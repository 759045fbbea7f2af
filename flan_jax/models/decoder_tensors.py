"""A decoder's parameters as the tensors of other libraries, in and out, by a table of names.

A table maps a tensor's name, with ``{}`` for the number of a layer, to our parameter; a fused tensor names
several, which lie side by side in it: ``"h.{}.attn.c_attn.weight": "layers.attention.q layers.attention.k …"``.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util

from flan_jax.errors import UserError, did_you_mean
from flan_jax.models.build import Params, abstract_params
from flan_jax.models.decoder_config import DecoderConfig

Path = tuple[str, ...]
_REMEDY = "Use the config.json that was saved with the weights."
_TABLES = ("embedding", "positions")  # kept as they are; every other matrix of a linear layer is turned


class _Place(NamedTuple):
    """One tensor: the parameters it holds, of one layer or of none."""

    name: str
    paths: tuple[Path, ...]
    layer: int | None
    turned: bool


class Renamed(Mapping[str, Any]):
    """A view of a mapping under other names."""

    def __init__(self, items: Mapping[str, Any], names: Mapping[str, str]) -> None:
        self._items, self._names = items, names

    def __getitem__(self, name: str) -> Any:
        return self._items[self._names[name]]

    def __contains__(self, name: object) -> bool:  # the inherited one reads the tensor
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def params_from_tensors(
    config: DecoderConfig, names: Mapping[str, str], tensors: Mapping[str, Any], *, turned: bool
) -> Params:
    """Our parameters from a table of names and the tensors.

    Args:
        config: the model.
        names: the table.
        tensors: name to array; may be lazy, as each is asked for once.
        turned: whether kernels are stored outputs first, as PyTorch's linear layers are.

    Returns:
        float32 NumPy arrays in the structure of ``init_model``.

    Raises:
        UserError: a tensor is missing, unknown or of another shape.
    """
    shapes = {path: leaf.shape for path, leaf in traverse_util.flatten_dict(abstract_params(config)).items()}
    places = list(_places(config, names, shapes, turned))
    _check_names([place.name for place in places], tensors)
    flat = {path: np.empty(shape, np.float32) for path, shape in shapes.items()}
    for place in places:
        slots = [flat[path] if place.layer is None else flat[path][place.layer] for path in place.paths]
        whole = (*slots[0].shape[:-1], sum(slot.shape[-1] for slot in slots))
        tensor = tensors[place.name]
        expected = whole[::-1] if place.turned else whole
        if tuple(tensor.shape) != expected:
            raise UserError(
                f"Tensor {place.name!r} has shape {list(tensor.shape)}, but the configuration gives {list(expected)}. {_REMEDY}"
            )
        columns = np.asarray(tensor).T if place.turned else np.asarray(tensor)
        start = 0
        for slot in slots:
            slot[...] = columns[..., start : start + slot.shape[-1]]
            start += slot.shape[-1]
    return traverse_util.unflatten_dict(flat)


def tensors_from_params(
    config: DecoderConfig, names: Mapping[str, str], params: Mapping[str, Any], *, turned: bool
) -> dict[str, np.ndarray]:
    """The reverse of ``params_from_tensors``: float32 tensors by name."""
    flat = {
        path: np.asarray(jax.device_get(value), np.float32)
        for path, value in traverse_util.flatten_dict(dict(params)).items()
    }
    tensors = {}
    for place in _places(config, names, {path: value.shape for path, value in flat.items()}, turned):
        parts = [flat[path] if place.layer is None else flat[path][place.layer] for path in place.paths]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        tensors[place.name] = np.ascontiguousarray(whole.T if place.turned else whole)
    return tensors


def _places(
    config: DecoderConfig, names: Mapping[str, str], shapes: Mapping[Path, Sequence[int]], turned: bool
) -> Iterator[_Place]:
    """Every tensor that a model of these shapes has."""
    for name, ours in names.items():
        paths = tuple(tuple(path.split(".")) for path in ours.split())
        if paths[0] not in shapes:
            continue
        stacked = paths[0][0] == "layers"
        matrix = len(shapes[paths[0]]) == (3 if stacked else 2) and ours not in _TABLES
        # The output projection is a linear layer everywhere, whatever the layers before it are.
        as_linear = matrix and (turned or ours == "lm_head")
        for layer in range(config.num_layers) if stacked else (None,):
            yield _Place(name if layer is None else name.format(layer), paths, layer, as_linear)


def _check_names(expected: Sequence[str], found: Mapping[str, Any]) -> None:
    def some(names: Sequence[str]) -> str:
        return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    known = set(expected)
    missing = [name for name in expected if name not in found]
    extra = sorted(name for name in found if name not in known)
    if missing:
        raise UserError(f"The weights lack {some(missing)}.{did_you_mean(missing[0], extra)} {_REMEDY}")
    if extra:
        raise UserError(f"The weights have {some(extra)}, which this configuration has no place for. {_REMEDY}")
