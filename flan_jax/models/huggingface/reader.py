"""Reading of Hugging Face folders: ``config.json`` and safetensors weights in one file or several."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flan_jax.errors import UserError
from flan_jax.models.build import ModelConfig, Params
from flan_jax.models.huggingface import carried, families
from flan_jax.models.huggingface.safetensors_files import LazyTensors, Tensor, read_header
from flan_jax.models.huggingface.tensors import (
    TensorPlace,
    absent_value,
    checked,
    names_in,
    params_from_tensors,
    places,
    shapes_of,
    stream_params,
)

CONFIG = "config.json"
GENERATION = "generation_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def read_config(folder: str | Path, *, dtype: str = "float32") -> ModelConfig:
    """Reads the configuration of the model in a folder.

    Args:
        folder: with a ``config.json``. What a ``generation_config.json`` beside it says of what ends a text is
            added to what that says: those of chat models differ as a rule.
        dtype: the compute type, which is ours to choose.

    Raises:
        UserError: no such file, or a model that cannot be read.
    """
    config = families.config_from_fields(read_json(Path(folder) / CONFIG), dtype=dtype)
    if not (Path(folder) / GENERATION).is_file():
        return config
    given = read_json(Path(folder) / GENERATION).get("eos_token_id")
    further = [i for i in (given if isinstance(given, list) else [given]) if type(i) is int and i != config.eos_id]
    return dataclasses.replace(config, stop_ids=(*config.stop_ids, *further))


def load(folder: str | Path, *, dtype: str = "float32", allow_nonfinite: bool = False) -> tuple[ModelConfig, Params]:
    """Reads the model in a folder and its parameters as float32 NumPy arrays in the structure of ``init_model``.

    Raises:
        UserError: a file is missing or does not hold what it should.
    """
    config = read_config(folder, dtype=dtype)
    weights = open_tensors(folder, config)
    return config, params_from_tensors(config, families.layout(config), weights, allow_nonfinite=allow_nonfinite)


def stream(
    folder: str | Path, config: ModelConfig, *, allow_nonfinite: bool = False
) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """Yields the parameters one by one: the path and the float32 values, layers stacked.

    One tensor of the files is read at a time, and one parameter is held (of a fused tensor those in it).

    Raises:
        UserError: a file is missing or does not hold what it should.
    """
    weights = open_tensors(folder, config)
    return stream_params(families.layout(config), shapes_of(config), weights, allow_nonfinite=allow_nonfinite)


def stream_tensors(
    folder: str | Path, config: ModelConfig, *, allow_nonfinite: bool = False
) -> Iterator[tuple[TensorPlace, np.ndarray]]:
    """Yields the tensors one by one, in float32 and the files' own shapes, each with its place in the model.

    Raises:
        UserError: a file is missing or does not hold what it should.
    """
    weights, layout, shapes = open_tensors(folder, config), families.layout(config), shapes_of(config)
    found = names_in(layout, weights, shapes)
    for place in places(layout, shapes):
        yield place, checked(weights, found[place.name], place, allow_nonfinite=allow_nonfinite)
    for place in places(layout, shapes, absent=True):
        yield place, np.full(place.shape, absent_value(place.paths[0]), np.float32)


def open_tensors(folder: str | Path, config: ModelConfig | None = None) -> LazyTensors:
    """Opens the tensors of a folder; only headers are read.

    Args:
        folder: with safetensors files.
        config: of the model, for the message where the weights have another format.

    Raises:
        UserError: there are none, or a file that the index names is missing, damaged or cut short.
    """
    folder = Path(folder)
    if (folder / INDEX).is_file():
        return LazyTensors(_indexed(folder))
    if (folder / WEIGHTS).is_file():
        return LazyTensors(read_header(folder / WEIGHTS))
    raise UserError(_no_weights(folder, config))


def carried_tensors(folder: Path, config: ModelConfig) -> dict[str, Tensor]:
    """Finds the tensors of a folder that the model does not use and that go out as they came in.

    Args:
        folder: a Hugging Face folder, or one of an import or a run's copy, which keep them in a file of their own.
        config: of the model.
    """
    if (folder / INDEX).is_file() or (folder / WEIGHTS).is_file():
        return carried.select_carried(config, open_tensors(folder, config).tensors)
    return carried.saved(folder)


def _indexed(folder: Path) -> dict[str, Tensor]:
    index = read_json(folder / INDEX).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(file, str) for file in index.values()):
        raise UserError(f"{folder / INDEX} has no 'weight_map' of tensors to files. Download it again.")
    files: dict[str, dict[str, Tensor]] = {}
    for file in sorted(set(index.values())):
        if Path(file).name != file:
            raise UserError(f"{folder / INDEX} names the file {file!r}, which is not in its folder. Download it again.")
        if not (folder / file).is_file():
            count = sum(other == file for other in index.values())
            raise UserError(
                f"{folder / INDEX} names the file {file!r} for {count} tensors, but it is missing. Download it."
            )
        files[file] = read_header(folder / file)
    for name, file in index.items():
        if name not in files[file]:
            raise UserError(f"{folder / file} lacks {name!r}, which the index says is in it. Download both again.")
    return {name: files[file][name] for name, file in index.items()}


def _no_weights(folder: Path, config: ModelConfig | None) -> str:
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    gguf = sorted(path.name for path in folder.glob("*.gguf"))
    if gguf and not pickled:
        return f"{folder} has {gguf[0]} and no {WEIGHTS}: name that file itself, and the message says the command that converts it."
    if not pickled:
        return f"{folder} has no {WEIGHTS}. Give the folder of a model whose weights are downloaded."
    kind = "AutoModelForSeq2SeqLM" if config is None else families.auto_class(config)
    code = f"import transformers as t; t.{kind}.from_pretrained('{folder}').save_pretrained('{folder}')"
    return (
        f"{folder} has {pickled[0]} and no {WEIGHTS}: pickled weights can run code and are not read here. Where you "
        f'trust them, convert them with: python -c "{code}"'
    )


def read_json(path: Path) -> dict[str, Any]:
    """Reads the object in a JSON file.

    Raises:
        UserError: there is none.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. Give the folder of a saved model.") from None
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path} is not a JSON file: {error}.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}, not a JSON object.")
    return value
