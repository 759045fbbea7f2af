"""Conversion between our parameters and transformers' tensors, by a table of names.

A table maps a tensor's name, with ``{}`` for the number of a layer, to our parameter; a fused tensor names
several, which lie side by side in it: ``"h.{}.attn.c_attn.weight": "layers.attention.q layers.attention.k …"``.
Tables are in the order of transformers' modules, which decides what lies in which file of several.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from flan_jax.errors import UserError, did_you_mean
from flan_jax.models.build import ModelConfig, Params, abstract_params

Path = tuple[str, ...]
REMEDY = "Use the config.json that was saved with the weights."
_CONV = "conv"  # channels first in files, last here
_TABLES = ("embedding", "positions", "table")  # kept as they are; every other matrix of a linear layer is turned


def _same(name: str) -> str | None:
    return name


def _never(name: str) -> bool:
    return False


class TensorLayout(NamedTuple):
    """The tensor layout of a kind of model.

    Attributes:
        names: tensors' names, with ``{}`` for the layer, to our parameters.
        transposed: whether kernels are stored outputs first, as PyTorch's linear layers are.
        canonical_name: the name in ``names`` of a tensor that a file calls otherwise; ``None`` of one to leave out.
        copies: names under which a file may hold another tensor again, which then must be equal.
        fallbacks: tensors that may be missing → those whose values they then have.
        absent: tensors of ``names`` that there are none of: nothing reads these parameters (``absent_value``).
        numbers: of a stack that has some of the layers, by the name that it begins with, which ones. What ``names`` says
            of ``layers`` holds of the others as well.
        carried: tells tensors that the model does not use and that go out again as they came in.
    """

    names: Mapping[str, str]
    transposed: bool = True
    canonical_name: Callable[[str], str | None] = _same
    copies: Mapping[str, str] = {}
    fallbacks: Mapping[str, str] = {}
    absent: tuple[str, ...] = ()
    numbers: Mapping[str, Sequence[int]] = {}
    carried: Callable[[str], bool] = _never


class TensorPlace(NamedTuple):
    """A tensor and the parameters in it.

    Attributes:
        name: transformers'.
        paths: the parameters it holds.
        layer: of these parameters; ``None`` where they are not stacked.
        transposed: whether it is stored the other way round.
        shape: in the file.
    """

    name: str
    paths: tuple[Path, ...]
    layer: int | None
    transposed: bool
    shape: tuple[int, ...]


def shapes_of(config: ModelConfig) -> dict[Path, tuple[int, ...]]:
    """The shape of every parameter of a model, by its path."""
    return {path: leaf.shape for path, leaf in traverse_util.flatten_dict(abstract_params(config)).items()}


def places(layout: TensorLayout, shapes: Mapping[Path, Sequence[int]], *, absent: bool = False) -> list[TensorPlace]:
    """Every tensor of a model with parameters of these shapes, in the order of transformers' modules.

    Args:
        layout: of the tensors.
        shapes: of all parameters.
        absent: return the tensors that there are none of instead, as if they were there.
    """
    found: list[tuple[tuple[int, int, int], TensorPlace]] = []
    groups: dict[str, int] = {}
    others = [stack for stack in layout.numbers if stack != "layers"]
    named = [
        (row, name, tuple(tuple(path.split(".")) for path in ours.split()))
        for row, (name, whole) in enumerate(layout.names.items())
        for ours in (whole, *(_of_stack(whole, stack) for stack in others if whole.startswith("layers.")))
    ]
    for row, name, paths in named:
        # Of a group (a stack of blocks) one layer comes after the other, whatever the table lists first.
        before, number = re.fullmatch(r"(\D*?)(?:\{0?\}.*|(\d+)\..*)?", name).groups()  # type: ignore[union-attr]
        group = groups.setdefault(before, len(groups))
        if paths[0] not in shapes:
            continue
        stacked = "layers" in paths[0]
        inner = [tuple(shapes[path][1:] if stacked else shapes[path]) for path in paths]
        # The output projection is a linear layer everywhere, whatever the layers before it are.
        is_kernel = (len(inner[0]) == 2 and paths[0][-1] not in _TABLES) or paths[0][-1] == _CONV
        transposed = is_kernel and (layout.transposed or paths == (("lm_head",),))
        whole = (*inner[0][:-1], sum(shape[-1] for shape in inner))
        shape = whole[::-1] if transposed else whole
        numbers = layout.numbers.get(paths[0][0], range(shapes[paths[0]][0])) if stacked else (None,)
        for layer, of_layer in enumerate(numbers):
            order = (group, int(number or 0) if of_layer is None else of_layer, row)
            place = TensorPlace(name.format(of_layer), paths, None if of_layer is None else layer, transposed, shape)
            found.append((order, place))
    found.sort(key=lambda pair: pair[0])
    return [place for _, place in found if (place.name in layout.absent) == absent]


def _of_stack(ours: str, stack: str) -> str:
    return " ".join(f"{stack}.{path}" for path in ours.split())


def absent_value(path: Path) -> float:
    """Returns what a parameter has in a layer that has no tensor for it: what changes nothing, though nothing reads it."""
    return 0.0 if path[-1] == "bias" else 1.0


def stream_params(
    layout: TensorLayout,
    shapes: Mapping[Path, Sequence[int]],
    tensors: Mapping[str, Any],
    *,
    allow_nonfinite: bool = False,
) -> Iterator[tuple[Path, np.ndarray]]:
    """Yields our parameters, each whole, from tensors that are read one at a time.

    Args:
        layout: of the tensors.
        shapes: of all parameters.
        tensors: name to array; may be lazy, as each is asked for once (embeddings that appear under several
            names, twice).
        allow_nonfinite: take weights that are infinite or no numbers.

    Yields:
        The path of a parameter and its float32 values, layers stacked.

    Raises:
        UserError: before the first parameter, where a tensor is missing or unknown or copies differ; when its
            turn comes, where a tensor has another shape or holds what is no finite number.
    """
    found = _canonical(layout, tensors)
    expected = places(layout, shapes)
    _check_names([place.name for place in expected], found)
    rows: dict[tuple[Path, ...], list[TensorPlace]] = {}
    for place in expected:
        rows.setdefault(place.paths, []).append(place)
    for paths, row in rows.items():
        values = [
            np.full(shapes[path], absent_value(path), np.float32)
            if layout.absent
            else np.empty(shapes[path], np.float32)
            for path in paths
        ]
        for place in row:
            tensor = checked(tensors, found[place.name], place, allow_nonfinite=allow_nonfinite)
            for part, value in zip(split(place, tensor, shapes), values, strict=True):
                value[... if place.layer is None else place.layer] = part
            del tensor
        yield from zip(paths, values, strict=True)


def checked(tensors: Mapping[str, Any], name: str, place: TensorPlace, *, allow_nonfinite: bool = False) -> np.ndarray:
    """Reads the tensor ``name`` as float32 and checks shape and values.

    Raises:
        UserError: it has another shape than its place, or holds what is no finite number.
    """
    tensor = np.asarray(tensors[name])
    if tensor.shape != place.shape:
        raise UserError(
            f"Tensor {name!r} has shape {list(tensor.shape)}, but the configuration gives {list(place.shape)}. {REMEDY}"
        )
    tensor = tensor.astype(np.float32, copy=False)
    # The extremes are enough, as no number comes through them, and they need no mask of the tensor's size.
    if not allow_nonfinite and not (np.isfinite(tensor.min()) and np.isfinite(tensor.max())):
        count = int(np.size(tensor) - np.isfinite(tensor).sum())
        raise UserError(
            f"Tensor {name!r} holds {count} value{'' if count == 1 else 's'} that {'is' if count == 1 else 'are'} infinite "
            "or not a number. Download the weights again, or allow such values with --allow_nonfinite."
        )
    return tensor


def split(place: TensorPlace, tensor: np.ndarray, shapes: Mapping[Path, Sequence[int]]) -> Iterator[np.ndarray]:
    """Splits a tensor into its parameters, in our layout."""
    ours = tensor.T if place.transposed else tensor
    start = 0
    for path in place.paths:
        width = shapes[path][-1]
        yield ours[..., start : start + width]
        start += width


def join(place: TensorPlace, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Reverses ``split``: returns the tensor, contiguous."""
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
    return np.ascontiguousarray(whole.T if place.transposed else whole)


def names_in(layout: TensorLayout, tensors: Mapping[str, Any], shapes: Mapping[Path, Sequence[int]]) -> dict[str, str]:
    """Finds the name in the file of every tensor of a model.

    Raises:
        UserError: one is missing or unknown, or copies differ.
    """
    found = _canonical(layout, tensors)
    _check_names([place.name for place in places(layout, shapes)], found)
    return found


def _canonical(layout: TensorLayout, tensors: Mapping[str, Any]) -> dict[str, str]:
    """Maps the layout's names to the tensors that are there; copies are compared with their originals."""
    found: dict[str, str] = {}
    for name in tensors:
        ours = layout.canonical_name(name)
        if ours is not None:
            found[ours] = name
    for alias, original in layout.copies.items():
        theirs = found.pop(alias, None)
        if theirs is None:
            continue
        if original in found and not np.array_equal(tensors[found[original]], tensors[theirs]):
            raise UserError(
                f"Tensors {found[original]!r} and {theirs!r} differ, but the configuration has one embedding for both. "
                f"{_two_tables(alias, theirs)}"
            )
        found.setdefault(original, theirs)
    for name, original in layout.fallbacks.items():
        if original in found:
            found.setdefault(name, found[original])
    return found


def _two_tables(alias: str, theirs: str) -> str:
    """Says what helps where two tables differ that the configuration has as one."""
    if alias.startswith("lm_head"):
        return "For a separate output projection set tie_word_embeddings to false."
    # transformers ties both sides' tables to the shared one when it loads, whatever the file has.
    return (
        "A T5 has one table for encoder and decoder, in transformers too, which would read the first and drop the second: "
        f"if {theirs!r} is a leftover, remove it from the file; a model that was trained with two tables is no T5, and "
        "cannot be read."
    )


def _check_names(expected: Sequence[str], found: Mapping[str, str]) -> None:
    def some(names: Sequence[str]) -> str:
        return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    known = set(expected)
    missing = [name for name in expected if name not in found]
    extra = sorted(theirs for name, theirs in found.items() if name not in known)
    if missing:
        raise UserError(f"The weights lack {some(missing)}.{did_you_mean(missing[0], extra)} {REMEDY}")
    if extra:
        raise UserError(f"The weights have {some(extra)}, which this configuration has no place for. {REMEDY}")


def params_from_tensors(
    config: ModelConfig, layout: TensorLayout, tensors: Mapping[str, Any], *, allow_nonfinite: bool = False
) -> Params:
    """Converts all tensors to parameters at once; see ``stream_params``.

    Returns:
        float32 NumPy arrays in the structure of ``init_model``.
    """
    flat = dict(stream_params(layout, shapes_of(config), tensors, allow_nonfinite=allow_nonfinite))
    return traverse_util.unflatten_dict(flat)


def tensors_from_params(layout: TensorLayout, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Converts parameters to float32 tensors by transformers' names; tied ones appear once."""
    flat = {path: np.asarray(value, np.float32) for path, value in traverse_util.flatten_dict(dict(params)).items()}
    return {
        place.name: join(place, [flat[path][... if place.layer is None else place.layer] for path in place.paths])
        for place in places(layout, {path: value.shape for path, value in flat.items()})
    }
