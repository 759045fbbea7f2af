"""Writing of Hugging Face folders: what transformers' ``from_pretrained`` loads, and the bytes of its ``save_pretrained``."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from flax import traverse_util

from flan_jax.errors import UserError, unknown
from flan_jax.files import atomic_write_text
from flan_jax.models.build import ModelConfig
from flan_jax.models.huggingface import families
from flan_jax.models.huggingface.carried import write as write_carried
from flan_jax.models.huggingface.reader import CONFIG, INDEX, WEIGHTS, carried_tensors, read_json
from flan_jax.models.huggingface.safetensors_files import FLOATS, FileWriter, Tensor, shards
from flan_jax.models.huggingface.tensors import Path as ParamPath
from flan_jax.models.huggingface.tensors import TensorPlace, join, places, shapes_of

DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
MAX_SHARD_BYTES = 5_000_000_000
"""The largest file, where nothing else is said."""


def parse_size(size: str) -> int:
    """Parses a size: the number of bytes that a text such as ``5GB`` or ``500MiB`` means.

    >>> parse_size("5GB"), parse_size("1.5 MiB"), parse_size("300")
    (5000000000, 1572864, 300)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", size.strip().lower())
    unit = _UNITS.get(found[2].upper()) if found else None
    if not found or unit is None or float(found[1]) * unit < 1:
        raise UserError(f"{size!r} is no size. Write a number and a unit, such as 5GB or 500MB.")
    return int(float(found[1]) * unit)


def save(
    folder: str | Path,
    config: ModelConfig,
    params: Mapping[str, Any] | Iterable[tuple[ParamPath, Any]],
    *,
    dtype: str = "float32",
    max_shard_bytes: int = MAX_SHARD_BYTES,
    carried_from: str | Path | None = None,
) -> list[Path]:
    """Writes ``config.json`` and the weights; an embedding that is tied is written once.

    Args:
        folder: made where it does not exist.
        config: of the model.
        params: nested dict of arrays; or paths with their parameters one after the other, of which one at a time
            is held.
        dtype: of the weights in the files: float32, bfloat16 or float16.
        max_shard_bytes: the largest file in bytes of tensors; more are divided as transformers does it.
        carried_from: the folder that the model was read from: what it does not use of it, such as a vision tower, goes
            out as it came in, in a file of its own.

    Returns:
        The files of the weights.

    Raises:
        UserError: an unknown type, no room in a type for a value, or a model that transformers does not have.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    if max_shard_bytes < 1:
        raise UserError(f"max_shard_bytes is {max_shard_bytes}; give at least 1.")
    fields = {**families.fields_from_config(config), "torch_dtype": dtype}
    carried: Mapping[str, Tensor] = {}
    if carried_from is not None:
        carried = carried_tensors(Path(carried_from), config)
        families.carry_fields(config, fields, read_json(Path(carried_from) / CONFIG))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    items = traverse_util.flatten_dict(dict(params)).items() if isinstance(params, Mapping) else params
    writer = WeightsWriter(folder, config, dtype=dtype, max_shard_bytes=max_shard_bytes, carried=carried)
    try:
        for path, values in items:
            writer.put(path, values)
        files = writer.finish()
    except BaseException:
        writer.discard()
        raise
    write_json(folder / CONFIG, fields)
    return files


class WeightsWriter:
    """Weights that come parameter by parameter, in any order; nothing has its name before all are there.

    Args:
        folder: theirs.
        config: of the model.
        dtype: of the weights in the files.
        max_shard_bytes: the largest file.
        carried: tensors of other files that go out as they are, in a file of their own.
    """

    def __init__(
        self,
        folder: Path,
        config: ModelConfig,
        *,
        dtype: str = "float32",
        max_shard_bytes: int = MAX_SHARD_BYTES,
        carried: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        self._folder, self._dtype, self._carried = folder, dtype, carried
        shapes = shapes_of(config)
        own = places(families.layout(config), shapes)
        self._of_path: dict[ParamPath, list[TensorPlace]] = {}
        for place in own:
            for path in place.paths:
                self._of_path.setdefault(path, []).append(place)
        self._waiting: dict[ParamPath, np.ndarray] = {}  # parts of fused tensors
        width = FLOATS[DTYPES[dtype]].itemsize
        sizes = {place.name: width * math.prod(place.shape) for place in own}
        groups = shards(sizes.items(), max_shard_bytes)
        names, count = [WEIGHTS], len(groups) + bool(carried)
        if count > 1:
            names = [f"model-{i + 1:05d}-of-{count:05d}.safetensors" for i in range(count)]
        self._carried_path = folder / names.pop() if carried else None
        self._total = sum(sizes.values()) + sum(tensor.size for tensor in carried.values())
        self._count = sum(math.prod(place.shape) for place in own)
        self._count += sum(math.prod(tensor.shape) for tensor in carried.values())
        of_name = {place.name: place.shape for place in own}
        self._files = [
            FileWriter(folder / file, {name: of_name[name] for name in group}, DTYPES[dtype])
            for file, group in zip(names, groups, strict=True)
        ]
        self._file_of = {name: file for file, group in zip(self._files, groups, strict=True) for name in group}

    def put(self, path: ParamPath, values: Any) -> None:
        """Writes one parameter; a part of a fused tensor waits for the others.

        Raises:
            UserError: a value is too large for the type of the file.
        """
        self._waiting[path] = np.asarray(values)
        paths = self._of_path[path][0].paths
        if not all(part in self._waiting for part in paths):
            return
        parts = [self._waiting.pop(part) for part in paths]
        for place in self._of_path[path]:
            tensor = join(place, [part if place.layer is None else part[place.layer] for part in parts])
            self.put_tensor(place.name, tensor)

    def put_tensor(self, name: str, tensor: np.ndarray) -> None:
        """Writes one tensor as transformers has it.

        Raises:
            UserError: a value is too large for the type of the file.
        """
        self._check_room(name, tensor)
        self._file_of[name].put(name, tensor)

    def _check_room(self, name: str, tensor: np.ndarray) -> None:
        if self._dtype != "float16":  # bfloat16 reaches as far as float32
            return
        largest = float(max(abs(tensor.max()), abs(tensor.min())))
        if np.isfinite(largest) and largest > float(np.finfo(np.float16).max):
            raise UserError(
                f"Tensor {name!r} has a value of size {largest:.3g}, too large for float16, which ends at 65504. "
                "Export in bfloat16 or float32."
            )

    def finish(self) -> list[Path]:
        """Gives the files their names and writes the index of several; returns the files."""
        if self._carried_path is not None:
            write_carried(self._carried_path, self._carried)
        for file in self._files:
            file.finish()
        paths = [*(file.path for file in self._files), *([self._carried_path] if self._carried_path else [])]
        mine = {path.name for path in paths}
        for path in [*self._folder.glob("model-*-of-*.safetensors"), self._folder / WEIGHTS, self._folder / INDEX]:
            if path.name not in mine:  # of an earlier export
                path.unlink(missing_ok=True)
        if len(paths) > 1:
            index = {
                "metadata": {"total_parameters": self._count, "total_size": self._total},
                "weight_map": {
                    **{name: file.path.name for name, file in self._file_of.items()},
                    **{name: paths[-1].name for name in self._carried},
                },
            }
            write_json(self._folder / INDEX, index, sort=True)
        return paths

    def discard(self) -> None:
        """Removes what was written."""
        for file in self._files:
            file.discard()
        if self._carried_path is not None:
            self._carried_path.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any], *, sort: bool = False) -> None:
    """Writes a JSON file whole or not at all."""
    atomic_write_text(path, json.dumps(value, indent=2, sort_keys=sort) + "\n")
