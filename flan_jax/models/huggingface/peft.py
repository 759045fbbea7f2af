"""Import and export of adapters and prompts in PEFT's format: ``adapter_config.json`` and ``adapter_model.safetensors``, in and out.

PEFT adapts a module where we adapt a kernel. Where a module is several of our kernels (GPT-2's ``c_attn`` is queries,
keys and values side by side), one adapter of it is one of each kernel with the same ``a``; and adapters of the kernels
are one of the module whose rank is the sum of theirs: both exactly.

Only safetensors files are read.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util

from flan_jax.errors import UserError, did_you_mean, unknown
from flan_jax.models.build import ModelConfig
from flan_jax.models.huggingface import families
from flan_jax.models.huggingface.safetensors_files import FileWriter, LazyTensors, read_header
from flan_jax.models.huggingface.tensors import Path as ParamPath
from flan_jax.models.huggingface.tensors import TensorPlace, places, shapes_of
from flan_jax.models.huggingface.writer import write_json
from flan_jax.models.peft.adapters import PROMPT, A, B, Tree
from flan_jax.models.peft.config import TuningConfig

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PROMPT = "prompt_embeddings"
# What a file says without deciding what an adapter computes.
_NO_EFFECT = frozenset(
    {
        "peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
        "inference_mode", "lora_dropout", "fan_in_fan_out", "target_modules", "exclude_modules", "layers_to_transform",
        "layers_pattern", "megatron_core", "qalora_group_size", "loftq_config", "eva_config", "corda_config",
        "lora_ga_config", "runtime_config", "token_dim", "num_attention_heads", "num_layers", "prompt_tuning_init",
        "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs",
    }
)  # fmt: skip
_READ = frozenset(
    {
        "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "init_lora_weights", "bias",
        "num_virtual_tokens", "num_transformer_submodules",
    }
)  # fmt: skip
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
_MERGE = "Merge it into its model with PEFT (merge_and_unload) and give that folder instead."


def save(
    folder: str | Path, config: ModelConfig, tuning: TuningConfig, trained: Mapping[str, Any], *, base: str = ""
) -> None:
    """Writes what ``PeftModel.from_pretrained`` loads.

    Args:
        folder: made where it does not exist.
        config: of the model.
        tuning: how it was trained.
        trained: what was trained (``adapters.split``).
        base: the name or folder of the model that it was trained on, as it shall stand in the file.

    Raises:
        UserError: PEFT has no word for it.
    """
    fields, tensors = to_peft(config, tuning, trained, base=base)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = FileWriter(folder / WEIGHTS, {name: tensor.shape for name, tensor in tensors.items()}, "F32")
    try:
        for name, tensor in tensors.items():
            file.put(name, tensor)
        file.finish()
    except BaseException:
        file.discard()
        raise
    write_json(folder / CONFIG, fields)


def load(folder: str | Path, config: ModelConfig) -> tuple[TuningConfig, Tree]:
    """Reads an adapter or a prompt that PEFT saved for this model.

    Returns:
        How it is tuned, and the trained tree (``adapters.join`` puts it on the model's frozen parameters).

    Raises:
        UserError: no such folder, another model's adapter, or a kind that is not known here.
    """
    folder = Path(folder).expanduser()
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{str(folder)!r} is no PEFT folder: it has no {CONFIG}. Give the folder that PEFT saved.")
    if not (folder / WEIGHTS).is_file():
        others = ", ".join(sorted(found.name for found in folder.glob("adapter_model.*")))
        raise UserError(
            f"{str(folder)!r} has no {WEIGHTS}{f', only {others}' if others else ''}. Save the adapter again with "
            "safe_serialization=True."
        )
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}). Save the adapter again.") from error
    if not isinstance(fields, dict):
        raise UserError(f"{path} holds no object of fields. Save the adapter again.")
    return from_peft(config, fields, LazyTensors(read_header(folder / WEIGHTS)))


def to_peft(
    config: ModelConfig, tuning: TuningConfig, trained: Mapping[str, Any], *, base: str = ""
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields and the tensors of PEFT's two files; see ``save``."""
    flat = {path: np.asarray(value, np.float32) for path, value in traverse_util.flatten_dict(dict(trained)).items()}
    others = [path for path in flat if path[-1] not in (A, B) and path != (PROMPT,)]
    if others:
        raise UserError(
            f"The run trained {'/'.join(others[0])!r} itself, which an adapter of PEFT cannot hold. Export the merged model "
            "instead (without --adapter)."
        )
    adapted = {path[:-1] for path in flat if path[-1] == A}
    if adapted and (PROMPT,) in flat:
        raise UserError("The run trained both adapters and a prompt, and a folder of PEFT holds one of them only.")
    fields: dict[str, Any] = {
        "base_model_name_or_path": base or None,
        "inference_mode": True,
        "task_type": "CAUSAL_LM" if config.decoder_only else "SEQ_2_SEQ_LM",
    }
    if not adapted:
        return _prompt_to_peft(config, flat[(PROMPT,)], fields)
    tensors: dict[str, np.ndarray] = {}
    fused: dict[str, int] = {}
    layout, shapes = families.layout(config), shapes_of(config)
    kernels = [place for place in places(layout, shapes) if place.layer is not None and len(place.shape) == 2]
    chosen = [place for place in kernels if adapted & set(place.paths)]
    for place in chosen:
        a, b = _of_module(place, flat, shapes)
        tensors |= {f"{_PREFIX}{_module(place)}.lora_A.weight": a, f"{_PREFIX}{_module(place)}.lora_B.weight": b}
        if len(a) != tuning.lora_rank:
            fused[_module(place).rpartition(".")[2]] = len(a)
    stabilized = tuning.lora_scaling == "alpha/sqrt(r)"
    fields |= {
        "peft_type": "LORA", "r": tuning.lora_rank, "lora_alpha": tuning.lora_alpha, "use_rslora": stabilized,
        "target_modules": _targets(chosen, kernels), "fan_in_fan_out": not layout.transposed, "bias": "none",
        "lora_dropout": 0.0, "init_lora_weights": True, "modules_to_save": None, "rank_pattern": fused,
        "alpha_pattern": {
            module: tuning.scale * (math.sqrt(rank) if stabilized else rank) for module, rank in fused.items()
        },
    }  # fmt: skip
    return fields, tensors


def from_peft(config: ModelConfig, fields: Mapping[str, Any], tensors: Mapping[str, Any]) -> tuple[TuningConfig, Tree]:
    """The reverse of ``to_peft``; see ``load``."""
    kind = str(fields.get("peft_type"))
    if kind not in ("LORA", "PROMPT_TUNING"):
        raise unknown("peft_type", kind, ("LORA", "PROMPT_TUNING"), remedy=f"It stands in {CONFIG}. {_MERGE}")
    for name, value in fields.items():
        if name not in _NO_EFFECT | _READ and value not in (None, False, [], {}, ""):
            raise UserError(f"{CONFIG}: {name}={value!r} has an effect that is not known here. {_MERGE}")
    if kind == "PROMPT_TUNING":
        return _prompt_from_peft(config, fields, tensors)
    if fields.get("bias", "none") != "none":
        raise UserError(f"{CONFIG}: bias={fields['bias']!r} means that biases were trained as well. {_MERGE}")
    begun = fields.get("init_lora_weights")
    if isinstance(begun, str) and begun.lower().startswith(_CHANGES_BASE):
        raise UserError(
            f"{CONFIG}: init_lora_weights={begun!r} changes the model below the adapter. Save the adapter again with "
            "path_initial_model_for_weight_conversion, which makes a plain one of it."
        )
    modules = _modules(config, tensors)
    rank = max(len(a) for a, _ in modules.values())
    patterns = sorted(
        {"/".join(path) for place in _places(config) if _module(place) in modules for path in place.paths}
    )
    stabilized = bool(fields.get("use_rslora"))
    tuning = TuningConfig(
        lora_rank=rank,
        lora_alpha=fields.get("lora_alpha", 8),
        lora_scaling="alpha/sqrt(r)" if stabilized else "alpha/r",
        lora_patterns=tuple(patterns),
    )
    shapes = shapes_of(config)
    flat: dict[ParamPath, np.ndarray] = {}
    for place in _places(config):
        if _module(place) not in modules:
            continue
        a, b = modules[_module(place)]
        alpha = _by_pattern(fields.get("alpha_pattern") or {}, _module(place), fields.get("lora_alpha", 8))
        scale = alpha / (math.sqrt(len(a)) if stabilized else len(a))
        start = 0
        for path in place.paths:
            layers, inputs, outputs = shapes[path]
            # A lower rank is filled up with zeros, which stay zeros in training; another scale goes into b.
            ours_a = flat.setdefault((*path, A), np.zeros((layers, inputs, rank), np.float32))
            ours_b = flat.setdefault((*path, B), np.zeros((layers, rank, outputs), np.float32))
            ours_a[place.layer, :, : len(a)] = a.T
            ours_b[place.layer, : len(a)] = b[start : start + outputs].T * np.float32(scale / tuning.scale)
            start += outputs
    return tuning, traverse_util.unflatten_dict(flat)


def _of_module(
    place: TensorPlace, flat: Mapping[ParamPath, np.ndarray], shapes: Mapping[ParamPath, Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """One adapter of a module out of those of its kernels: ``[rank, inputs]`` and ``[outputs, rank]``."""
    own = [path for path in place.paths if (*path, A) in flat]
    a = np.concatenate([flat[(*path, A)][place.layer].T for path in own])
    b = np.zeros((sum(shapes[path][-1] for path in place.paths), len(a)), np.float32)
    row = column = 0
    for path in place.paths:
        outputs = shapes[path][-1]
        if path in own:
            part = flat[(*path, B)][place.layer].T
            b[row : row + outputs, column : column + part.shape[1]] = part
            column += part.shape[1]
        row += outputs
    return np.ascontiguousarray(a), b


def _modules(config: ModelConfig, tensors: Mapping[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns both matrices of every adapted module, by our layout's names of modules.

    Raises:
        UserError: a tensor that belongs to no kernel of the model, has another shape, or no numbers.
    """
    canonical_name = families.layout(config).canonical_name
    known = {_module(place): place for place in _places(config)}
    found: dict[str, dict[str, np.ndarray]] = {}
    for name in tensors:
        parts = re.fullmatch(rf"(?:{re.escape(_PREFIX)})?(.+)\.lora_([AB])(?:\.default)?\.weight", name)
        module = (canonical_name(f"{parts[1]}.weight") or "").removesuffix(".weight") if parts else ""
        if parts is None or module not in known:
            hint = did_you_mean(parts[1] if parts else name, known)
            raise UserError(
                f"Tensor {name!r} of the adapter belongs to no kernel of this model's layers.{hint} {_MERGE}"
            )
        values = np.asarray(tensors[name]).astype(np.float32)
        if not np.isfinite(values).all():
            raise UserError(f"Tensor {name!r} of the adapter holds values that are infinite or not a number.")
        found.setdefault(module, {})[parts[2]] = values
    if not found:
        raise UserError(f"{WEIGHTS} holds no adapter. Save it again with PEFT's save_pretrained.")
    for module, both in found.items():
        place = known[module]
        inputs, outputs = place.shape[::-1] if place.transposed else place.shape
        if set(both) != {"A", "B"}:
            raise UserError(f"The adapter of {module!r} lacks lora_{'B' if 'A' in both else 'A'}. Save it again.")
        if both["A"].ndim != 2 or both["A"].shape[1] != inputs or both["B"].shape != (outputs, len(both["A"])):
            raise UserError(
                f"The adapter of {module!r} has matrices of shape {both['A'].shape} and {both['B'].shape}; this model's "
                f"kernel needs (r, {inputs}) and ({outputs}, r). Give the model that the adapter was trained on."
            )
    return {module: (both["A"], both["B"]) for module, both in found.items()}


def _places(config: ModelConfig) -> list[TensorPlace]:
    own = places(families.layout(config), shapes_of(config))
    return [place for place in own if place.layer is not None and len(place.shape) == 2]


def _module(place: TensorPlace) -> str:
    return place.name.removesuffix(".weight")


def _targets(chosen: list[TensorPlace], kernels: list[TensorPlace]) -> list[str]:
    """Names of modules that PEFT finds exactly the chosen ones by: short ones where they do, whole ones elsewhere."""
    names = {_module(place) for place in chosen}
    short = sorted({name.rpartition(".")[2] for name in names})
    by_short = {_module(place) for place in kernels if _module(place).rpartition(".")[2] in short}
    return short if by_short == names else sorted(names)


def _by_pattern(patterns: Mapping[str, Any], module: str, default: Any) -> Any:
    """PEFT's lookup: the first pattern that is the end of a module's name, from a dot on."""
    return next((value for key, value in patterns.items() if re.match(rf"(?:.*\.)?(?:{key})$", module)), default)


def _prompt_to_peft(
    config: ModelConfig, prompt_PD: np.ndarray, fields: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    shape = config.soft_prompt
    fields |= {
        "peft_type": "PROMPT_TUNING", "num_virtual_tokens": len(prompt_PD), "token_dim": shape.width,
        "num_transformer_submodules": 1, "num_attention_heads": shape.heads, "num_layers": shape.layers,
        "prompt_tuning_init": "RANDOM",
    }  # fmt: skip
    return fields, {_PROMPT: (prompt_PD * shape.scale).astype(np.float32)}


def _prompt_from_peft(
    config: ModelConfig, fields: Mapping[str, Any], tensors: Mapping[str, Any]
) -> tuple[TuningConfig, Tree]:
    if fields.get("num_transformer_submodules") not in (None, 1) or set(tensors) != {_PROMPT}:
        raise UserError(
            f"{CONFIG}: num_transformer_submodules={fields.get('num_transformer_submodules')!r} puts a prompt in front of "
            "the decoder as well; one in front of the encoder is read (num_transformer_submodules=1)."
        )
    prompt_PD = np.asarray(tensors[_PROMPT]).astype(np.float32)
    wanted = (fields.get("num_virtual_tokens"), config.soft_prompt.width)
    if prompt_PD.shape != wanted:
        raise UserError(
            f"Tensor {_PROMPT!r} has shape {prompt_PD.shape}, but {wanted} vectors and width were expected. Give the model "
            "that the prompt was trained on."
        )
    return TuningConfig(prompt_tokens=len(prompt_PD)), {PROMPT: prompt_PD / np.float32(config.soft_prompt.scale)}
