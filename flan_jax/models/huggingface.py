"""T5 weights and configurations of Hugging Face transformers, in and out.

Covers T5 1.0, T5 1.1 and what is shaped like them (FLAN-T5, LM-adapted T5, mT5). Only safetensors files
are read: other formats can run code when they are opened.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util

from flan_jax.errors import UserError, did_you_mean
from flan_jax.models.build import Params, abstract_params
from flan_jax.models.config import FEED_FORWARDS, T5Config

# Other names under which transformers writes the input embedding.
_EMBEDDING_ALIASES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
# An unused table that early T5 checkpoints carry; transformers ignores it too.
_IGNORED = ("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",)
_MODEL_TYPES = ("t5", "mt5")
_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"

_CONFIG_FIELDS = {  # transformers' name: ours
    "vocab_size": "vocab_size",
    "d_model": "d_model",
    "d_kv": "d_kv",
    "num_heads": "num_heads",
    "d_ff": "d_ff",
    "num_layers": "num_encoder_layers",
    "num_decoder_layers": "num_decoder_layers",
    "relative_attention_num_buckets": "relative_attention_num_buckets",
    "relative_attention_max_distance": "relative_attention_max_distance",
    "feed_forward_proj": "feed_forward",
    "layer_norm_epsilon": "layer_norm_epsilon",
    "dropout_rate": "dropout_rate",
    "initializer_factor": "initializer_factor",
    "pad_token_id": "pad_id",
    "eos_token_id": "eos_id",
    "decoder_start_token_id": "decoder_start_id",
}
# What transformers assumes where a config.json is silent and our own default differs.
_HF_DEFAULTS: dict[str, Any] = {"feed_forward_proj": "relu", "dropout_rate": 0.1}


class _Place(NamedTuple):
    """Where one of our parameters comes from: ``names`` holds one tensor a layer, or one in all."""

    path: tuple[str, ...]
    names: tuple[str, ...]
    stacked: bool
    transposed: bool


def config_from_hf(config: Mapping[str, Any], *, dtype: str = "float32") -> T5Config:
    """The model that a ``config.json`` describes.

    transformers scales the output of T5 1.0 by ``d_model ** -0.5`` and not that of T5 1.1, and up to
    version 4 ``tie_word_embeddings`` alone tells the two apart. Version 5 writes it as true for both and
    puts the difference into ``scale_decoder_outputs``, which therefore is believed first.

    Args:
        config: the parsed file.
        dtype: the compute type, which is ours to choose.

    Raises:
        UserError: another kind of model, a missing size, or an activation that we do not have.
    """
    kind = config.get("model_type", "t5")
    if kind not in _MODEL_TYPES:
        raise UserError(f"config.json describes a model of type {kind!r}; only {' and '.join(_MODEL_TYPES)} are read.")
    values = {**_HF_DEFAULTS, **{name: config[name] for name in _CONFIG_FIELDS if config.get(name) is not None}}
    values.setdefault("num_decoder_layers", values.get("num_layers"))
    for name in ("vocab_size", "d_model", "d_kv", "num_heads", "d_ff", "num_layers"):
        if values.get(name) is None:
            raise UserError(f"config.json has no {name!r}. Take the file that was saved with the weights.")
    if values["feed_forward_proj"] not in FEED_FORWARDS:
        raise UserError(
            f"config.json: feed_forward_proj {values['feed_forward_proj']!r} is not supported; "
            f"known: {', '.join(FEED_FORWARDS)}."
        )
    if isinstance(values.get("eos_token_id"), Sequence):
        values["eos_token_id"] = values["eos_token_id"][0]
    tied = config.get("scale_decoder_outputs", config.get("tie_word_embeddings", kind == "t5"))
    fields = {ours: values[theirs] for theirs, ours in _CONFIG_FIELDS.items() if theirs in values}
    return T5Config(**fields, tie_embeddings=bool(tied), dtype=dtype)


def config_to_hf(config: T5Config) -> dict[str, Any]:
    """The ``config.json`` that lets transformers (4 or 5) load what ``params_to_hf`` gives."""
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "tie_word_embeddings": config.tie_embeddings,
        "scale_decoder_outputs": config.tie_embeddings,
        **{theirs: getattr(config, ours) for theirs, ours in _CONFIG_FIELDS.items()},
    }


def params_from_hf(config: T5Config, tensors: Mapping[str, Any]) -> Params:
    """Our parameters from transformers' tensors.

    Args:
        config: the model; ``config_from_hf`` reads it.
        tensors: ``T5ForConditionalGeneration``'s state dict, name to array. May be lazy: each tensor
            is asked for once, except embeddings that appear under several names.

    Returns:
        float32 NumPy arrays in the structure of ``init_model``.

    Raises:
        UserError: a tensor is missing, unknown or of another shape, or the copies of the embeddings differ.
    """
    tensors = _canonical(config, tensors)
    shapes = traverse_util.flatten_dict(abstract_params(config))
    places = list(_places(config))
    expected = [name for place in places for name in place.names]
    _check_names(expected, tensors)
    flat: dict[tuple[str, ...], np.ndarray] = {}
    for place in places:
        out = np.empty(shapes[place.path].shape, np.float32)
        for slot, name in zip(out if place.stacked else [out], place.names, strict=True):
            target = slot.T if place.transposed else slot
            tensor = tensors[name]
            if tensor.shape != target.shape:
                raise UserError(
                    f"Tensor {name!r} has shape {list(tensor.shape)}, but the configuration gives "
                    f"{list(target.shape)}. Use the config.json that was saved with the weights."
                )
            target[...] = tensor
        flat[place.path] = out
    return traverse_util.unflatten_dict(flat)


def params_to_hf(config: T5Config, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The reverse of ``params_from_hf``: float32 tensors by transformers' names.

    Tied embeddings are written once, as ``shared.weight``; transformers ties the others to it.
    """
    flat = traverse_util.flatten_dict(dict(params))
    tensors: dict[str, np.ndarray] = {}
    for place in _places(config):
        value = np.asarray(jax.device_get(flat[place.path]), np.float32)
        for name, part in zip(place.names, value if place.stacked else [value], strict=True):
            tensors[name] = np.ascontiguousarray(part.T if place.transposed else part)
    return tensors


def load_hf(folder: str | Path, *, dtype: str = "float32") -> tuple[T5Config, Params]:
    """Reads a folder with ``config.json`` and safetensors weights, in one file or several.

    Raises:
        UserError: a file is missing or does not hold what it should.
    """
    folder = Path(folder)
    config = config_from_hf(_read_json(folder / "config.json"), dtype=dtype)
    return config, params_from_hf(config, _SafetensorsFolder(folder))


def save_hf(folder: str | Path, config: T5Config, params: Mapping[str, Any]) -> None:
    """Writes ``config.json`` and ``model.safetensors`` for ``T5ForConditionalGeneration.from_pretrained``."""
    from safetensors.numpy import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(params_to_hf(config, params), folder / _WEIGHTS, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config_to_hf(config), indent=2) + "\n", encoding="utf-8")


class _SafetensorsFolder(Mapping[str, np.ndarray]):
    """The tensors of a folder, each read when it is asked for: a model is never held twice in full."""

    def __init__(self, folder: Path) -> None:
        if (folder / _INDEX).exists():
            weight_map = _read_json(folder / _INDEX).get("weight_map", {})
            self._files = {name: folder / file for name, file in weight_map.items()}
        elif (folder / _WEIGHTS).exists():
            self._files = dict.fromkeys(self._open(folder / _WEIGHTS).keys(), folder / _WEIGHTS)
        else:
            raise UserError(
                f"{folder} has no {_WEIGHTS}. If it has pytorch_model.bin, load it with transformers and "
                "save_pretrained it again: pickled weights are not read here."
            )

    def __getitem__(self, name: str) -> np.ndarray:
        return np.asarray(self._open(self._files[name]).get_tensor(name)).astype(np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    @staticmethod
    def _open(path: Path) -> Any:
        from safetensors import SafetensorError, safe_open

        try:
            return safe_open(path, framework="flax")  # NumPy's own reader has no bfloat16
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} cannot be read as a safetensors file: {error}. Download it again.") from error


def _places(config: T5Config) -> Iterator[_Place]:
    """Every parameter of ours with the tensors it is made of."""

    def one(path: str, name: str, *, transposed: bool = False) -> _Place:
        return _Place(tuple(path.split(".")), (name + ".weight",), False, transposed)

    yield one("embedding", "shared")
    for stack, depth in (("encoder", config.num_encoder_layers), ("decoder", config.num_decoder_layers)):
        yield one(f"{stack}.bias.table", f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias")
        yield one(f"{stack}.norm.scale", f"{stack}.final_layer_norm")
        parts = {"attention": "SelfAttention", "cross_attention": "EncDecAttention", "mlp": "DenseReluDense"}
        if stack == "encoder":
            del parts["cross_attention"]
        for number, (ours, theirs) in enumerate(parts.items()):
            up = ("wi_0", "wi_1") if config.gated else ("wi",)
            kernels = (*up, "wo") if ours == "mlp" else ("q", "k", "v", "o")
            for leaf, name in [("norm.scale", "layer_norm"), *((k, f"{theirs}.{k}") for k in kernels)]:
                names = tuple(f"{stack}.block.{i}.layer.{number}.{name}.weight" for i in range(depth))
                yield _Place((stack, "layers", ours, *leaf.split(".")), names, True, leaf != "norm.scale")
    if not config.tie_embeddings:
        yield one("lm_head", "lm_head", transposed=True)


def _canonical(config: T5Config, tensors: Mapping[str, Any]) -> Mapping[str, Any]:
    """The tensors under one name each: aliases of the embedding are checked against it and left out.

    A file may hold the embedding under any of its names, and transformers takes the output projection to
    be the embedding where no tensor says otherwise.
    """
    aliases = [*_EMBEDDING_ALIASES, *(["lm_head.weight"] if config.tie_embeddings else [])]
    names = {name: name for name in tensors if name not in _IGNORED}
    present = [name for name in ("shared.weight", *aliases) if name in names]
    for name in present[1:]:
        if not np.array_equal(tensors[name], tensors[present[0]]):
            raise UserError(
                f"Tensors {present[0]!r} and {name!r} differ, but the configuration has one embedding for both. "
                "For a separate output projection set tie_word_embeddings to false."
            )
        del names[name]
    if present:
        del names[present[0]]
        names["shared.weight"] = present[0]
    if present and not config.tie_embeddings:
        names.setdefault("lm_head.weight", present[0])
    return _Renamed(tensors, names)


class _Renamed(Mapping[str, np.ndarray]):
    """A view of a mapping under other names."""

    def __init__(self, items: Mapping[str, Any], names: Mapping[str, str]) -> None:
        self._items, self._names = items, names

    def __getitem__(self, name: str) -> np.ndarray:
        return self._items[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _check_names(expected: Sequence[str], found: Mapping[str, Any]) -> None:
    def some(names: Sequence[str]) -> str:
        return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    known = set(expected)
    missing = [name for name in expected if name not in found]
    extra = sorted(name for name in found if name not in known)
    remedy = "Use the config.json that was saved with the weights."
    if missing:
        raise UserError(f"The weights lack {some(missing)}.{did_you_mean(missing[0], extra)} {remedy}")
    if extra:
        raise UserError(f"The weights have {some(extra)}, which this configuration has no place for. {remedy}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist. Give the folder of a saved model.") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is not a JSON file: {error}.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds a {type(value).__name__}, not a JSON object.")
    return value
