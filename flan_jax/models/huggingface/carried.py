"""Tensors that a model does not use and that go out as they came in, byte for byte: the vision tower of a T5Gemma 2.

An import and a run keep them in a file of their own; an export puts them beside the weights.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flan_jax.models.build import ModelConfig
from flan_jax.models.huggingface import families
from flan_jax.models.huggingface.safetensors_files import Tensor, read_header

CARRIED = "carried.safetensors"
_CHUNK = 2**24


def saved(folder: Path) -> dict[str, Tensor]:
    """Finds the carried tensors in the file of an import or of a run's copy; none where there is no such file."""
    return read_header(folder / CARRIED) if (folder / CARRIED).is_file() else {}


def select_carried(config: ModelConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Picks those of a model's tensors that are carried along."""
    carried = families.layout(config).carried
    return {name: tensor for name, tensor in tensors.items() if carried(name)}


def select_left_out(config: ModelConfig, tensors: Iterable[str]) -> list[str]:
    """Picks the names of a model's tensors that are neither read nor carried along, such as a vision tower's."""
    layout = families.layout(config)
    return [name for name in tensors if layout.canonical_name(name) is None and not layout.carried(name)]


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a safetensors file of tensors that lie in other files, without a change to any byte of them."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in sorted(tensors.items()):
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [end, end + tensor.size]}
        end += tensor.size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in sorted(tensors.items()):
            for chunk in _bytes(tensor):
                file.write(chunk)


def _bytes(tensor: Tensor) -> Iterable[bytes]:
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        for start in range(0, tensor.size, _CHUNK):
            yield file.read(min(_CHUNK, tensor.size - start))
