"""Parts of a ``config.json`` that need more than a name: positions, windows, activations, special tokens.

Each part is a pair of functions: ``read`` gives fields of ``DecoderConfig``, ``write`` gives back what
transformers 4 and 5 read.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from flan_jax.errors import UserError, unknown
from flan_jax.models.build import ModelConfig
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.ops.rope import RopeScaling

# Fields that change nothing of what a model computes from tokens.
NO_EFFECT = frozenset((
    "architectures", "model_type", "torch_dtype", "dtype", "use_cache", "initializer_range",
    "attention_dropout", "chunk_size_feed_forward", "output_attentions", "output_hidden_states", "return_dict",
    "return_dict_in_generate", "torchscript", "is_decoder", "is_encoder_decoder", "id2label", "label2id",
    "num_labels", "problem_type", "task_specific_params", "tokenizer_class", "finetuning_task", "prefix",
    "name_or_path", "do_sample", "temperature", "top_k", "top_p", "typical_p", "min_length", "max_length",
    "max_new_tokens", "num_beams", "num_return_sequences", "repetition_penalty", "length_penalty",
    "no_repeat_ngram_size", "early_stopping", "bad_words_ids", "decoder_start_token_id", "forced_bos_token_id",
    "forced_eos_token_id", "sep_token_id", "unk_token_id", "mask_token_id", "cache_implementation",
    "attn_implementation", "summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels",
    "summary_first_dropout", "num_beam_groups", "diversity_penalty", "encoder_no_repeat_ngram_size",
    "unsloth_fixed",
))  # fmt: skip
_SILENT: tuple[Any, ...] = (None, False, [], {}, ())


class FieldReader:
    """A ``config.json`` that remembers which fields were looked at.

    Args:
        config: the parsed file.
        defaults: what transformers assumes where the file is silent; an explicit null stays ``None``.
    """

    def __init__(self, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._config, self._defaults, self._seen = config, defaults, set[str]()

    def __getitem__(self, name: str) -> Any:
        self._seen.add(name)
        return self._config.get(name, self._defaults.get(name))

    def __contains__(self, name: str) -> bool:
        return name in self._config

    def get(self, name: str) -> Any:
        """What the file itself says, ``None`` where it is silent."""
        self._seen.add(name)
        return self._config.get(name)

    def required(self, name: str) -> Any:
        """The value of a field.

        Raises:
            UserError: there is none.
        """
        value = self[name]
        if value is None:
            raise UserError(f"config.json has no {name!r}. Take the file that was saved with the weights.")
        return value

    def refuse_the_rest(self, kind: str, ignored: Collection[str]) -> None:
        """Refuses a field that nobody looked at: what it does is not known here.

        Raises:
            UserError: the field.
        """
        for name, value in self._config.items():
            known = name in self._seen or name in ignored or name.startswith("_") or name.endswith("_version")
            if not known and not any(value is silent or value == silent for silent in _SILENT):
                raise UserError(
                    f"config.json has {name}={value!r}, which has no meaning here for a model of type {kind!r}. "
                    "Remove the field if it changes nothing of what the model computes."
                )


class FieldPart(NamedTuple):
    """How a few fields are read and written.

    Attributes:
        read: from the file, the width of a head being known, to fields of ``DecoderConfig``.
        write: back.
    """

    read: Callable[[FieldReader], dict[str, Any]]
    write: Callable[[DecoderConfig], dict[str, Any]]


NOTHING = FieldPart(lambda given: {}, lambda config: {})
"""Of families without rotary positions, or without windows."""


GPT2_SCALE = FieldPart(
    lambda given: {"query_scale": None if given["scale_attn_weights"] else 1.0},
    lambda config: {"scale_attn_weights": config.query_scale != 1.0},
)
"""GPT-2 says only whether scores are scaled."""


# Activations. ------------------------------------------------------------------------------------------

_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
}


def activation(name: str, *, gated: bool = True, gelu_is_tanh: bool = False) -> FieldPart:
    """The activation, in the field ``name``; ``gelu`` means the tanh approximation in files of Gemma 1."""
    known = {**_ACTIVATIONS, **({"gelu": "gelu_tanh"} if gelu_is_tanh else {})}
    known = {
        theirs: f"gated-{ours}" if gated else ours for theirs, ours in known.items() if ours != "relu" or not gated
    }

    def read(given: FieldReader) -> dict[str, Any]:
        value = given[name]
        if gelu_is_tanh:  # older files have one name, newer ones the other
            value = given["hidden_activation"] or given["hidden_act"]
        if value not in known:
            raise unknown(f"{name} in config.json", str(value), known)
        return {"mlp_activation": known[value]}

    def write(config: DecoderConfig) -> dict[str, Any]:
        names = [theirs for theirs, ours in known.items() if ours == config.mlp_activation]
        preferred = "gelu_pytorch_tanh" if gated else "gelu_new"
        value = preferred if preferred in names else (names or [config.mlp_activation])[0]
        return {field: value for field in {name, *(["hidden_activation"] if gelu_is_tanh else [])}}

    return FieldPart(read, write)


# Special tokens. ---------------------------------------------------------------------------------------


def read_tokens(given: FieldReader) -> dict[str, Any]:
    """Padding, end and beginning; of several ends the first, and the others as what ends a generated text too."""
    ids: dict[str, Any] = {}
    for theirs, ours in {"pad_token_id": "pad_id", "eos_token_id": "eos_id", "bos_token_id": "bos_id"}.items():
        value = given[theirs]
        values = list(value) if isinstance(value, Sequence) else [value]
        values = [i for i in values if i is not None and i >= 0]  # -1 is how some files say that there is none
        if values:
            ids[ours] = values[0]
        if values[1:] and ours == "eos_id":
            ids["stop_ids"] = tuple(values[1:])
    if "eos_id" not in ids:
        raise UserError(
            "config.json has no 'eos_token_id', the token that ends a sequence. Add it from the tokenizer's files."
        )
    return ids


def write_tokens(config: DecoderConfig, family_pad: int | None) -> dict[str, Any]:
    """The same, where 0 is no padding token unless the family has it so: transformers would not train its embedding."""
    pad_id = config.pad_id or (family_pad and config.pad_id)
    return {"pad_token_id": pad_id, "eos_token_id": end_field(config), "bos_token_id": config.bos_id}


def end_field(config: ModelConfig) -> int | list[int]:
    """``eos_token_id``: a list where several tokens end what is generated."""
    return [config.eos_id, *config.stop_ids] if config.stop_ids else config.eos_id


# Rotary positions. -------------------------------------------------------------------------------------

_SCALING = {  # transformers' name: ours
    "factor": "factor",
    "original_max_position_embeddings": "original_max_positions",
    "low_freq_factor": "low_frequency_factor",
    "high_freq_factor": "high_frequency_factor",
    "beta_fast": "beta_fast",
    "beta_slow": "beta_slow",
    "attention_factor": "attention_factor",
    "truncate": "truncate",
}
_SCALING_FIELDS = {
    "linear": ("factor",),
    "llama3": ("factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "attention_factor", "truncate"),
}


def _read_scaling(parameters: Mapping[str, Any], longest: int | None) -> RopeScaling | None:
    """What ``rope_scaling`` (or ``rope_parameters`` without its base) says."""
    left = {name: value for name, value in parameters.items() if value is not None}
    old, kind = left.pop("type", "default"), left.pop("rope_type", None)
    kind = kind or old
    if left.get("partial_rotary_factor") == 1:
        del left["partial_rotary_factor"]
    if kind != "default" and kind not in _SCALING_FIELDS:
        raise unknown("rope_type in config.json", str(kind), ["default", *_SCALING_FIELDS])
    fields = _SCALING_FIELDS.get(kind, ())
    values = {ours: left.pop(theirs) for theirs, ours in _SCALING.items() if theirs in fields and theirs in left}
    left.pop("original_max_position_embeddings", None)  # says nothing where it is not asked for
    if left:
        name, value = next(iter(left.items()))
        raise UserError(
            f"config.json: the rotary positions have {name}={value!r}, which has no meaning here for type {kind!r}."
        )
    if kind == "default":
        return None
    if "factor" not in values:
        raise UserError(f"config.json: rotary positions of type {kind!r} need a 'factor'.")
    if longest is not None and "original_max_position_embeddings" in fields:
        values.setdefault("original_max_positions", longest)
    return RopeScaling(kind, **{name: _number(value) for name, value in values.items()})


def _number(value: Any) -> Any:
    return value if isinstance(value, bool | int) else float(value)


def _write_scaling(scaling: RopeScaling | None) -> dict[str, Any]:
    if scaling is None:
        return {"rope_type": "default"}
    fields = {theirs: getattr(scaling, _SCALING[theirs]) for theirs in _SCALING_FIELDS[scaling.kind]}
    return {"rope_type": scaling.kind, **{name: value for name, value in fields.items() if value is not None}}


def _read_rope(given: FieldReader) -> dict[str, Any]:
    new, old = given["rope_parameters"] or {}, given["rope_scaling"]
    _check_one_rope(given, new, old or {})
    parameters = dict(old or new)
    theta = parameters.pop("rope_theta", given["rope_theta"] or 10_000.0)
    longest = given["max_position_embeddings"]
    return {"rope_theta": float(theta), "rope_scaling": _read_scaling(parameters, longest)}


def _check_one_rope(given: FieldReader, new: Mapping[str, Any], old: Mapping[str, Any]) -> None:
    """Refuses a file that gives two bases, or two scalings."""
    tables = {name: table for name, table in (("rope_parameters", new), ("rope_scaling", old)) if table}
    _check_same(
        {
            "rope_theta": given.get("rope_theta"),
            **{f"{name}.rope_theta": table.get("rope_theta") for name, table in tables.items()},
        }
    )
    _check_same({name: _spelled(table) for name, table in tables.items()})


def _check_same(said: Mapping[str, Any]) -> None:
    """Refuses places of a file that mean the same and differ, as they do where one of them was edited.

    transformers 4 reads ``rope_theta`` and ``rope_scaling``, transformers 5 ``rope_parameters`` first.
    """
    told = {where: value for where, value in said.items() if value is not None}
    first = next(iter(told), "")
    for where, value in told.items():
        if value != told[first]:
            raise UserError(
                f"config.json: {first} is {told[first]!r}, but {where} is {value!r}, and programs differ in which they read. "
                "Give both the same value, or leave one out."
            )


def _spelled(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A table of rotary positions without its base, its kind by the newer name."""
    left = {name: value for name, value in parameters.items() if value is not None and name != "rope_theta"}
    kind = left.pop("type", "default")
    return {"rope_type": kind, **left}


def _write_rope(config: DecoderConfig) -> dict[str, Any]:
    scaling = _write_scaling(config.rope_scaling)
    return {
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling if config.rope_scaling else None,
        "rope_parameters": {**scaling, "rope_theta": config.rope_theta},
    }


ROPE = FieldPart(_read_rope, _write_rope)
"""The same positions in all layers."""


def _read_rope_by_kind(given: FieldReader) -> dict[str, Any]:
    new = given["rope_parameters"] or {}
    far, near = dict(new.get("full_attention") or {}), dict(new.get("sliding_attention") or {})
    full, sliding = "rope_parameters.full_attention", "rope_parameters.sliding_attention"
    _check_same({"rope_theta": given.get("rope_theta"), f"{full}.rope_theta": far.get("rope_theta")})
    _check_same(
        {"rope_local_base_freq": given.get("rope_local_base_freq"), f"{sliding}.rope_theta": near.get("rope_theta")}
    )
    if far and given["rope_scaling"]:
        _check_same({full: _spelled(far), "rope_scaling": _spelled(given["rope_scaling"])})
    far |= given["rope_scaling"] or {}
    theta = far.pop("rope_theta", given["rope_theta"] or 1_000_000.0)
    local = near.pop("rope_theta", given["rope_local_base_freq"] or 10_000.0)
    strange = sorted(set(new) - {"full_attention", "sliding_attention"})
    if strange:
        raise UserError(f"config.json: rope_parameters has {strange[0]!r} beside full_attention and sliding_attention.")
    longest = given["max_position_embeddings"]
    if _read_scaling(near, longest) is not None:
        raise UserError("config.json scales the rotary positions of layers with a window, which is not supported.")
    return {
        "rope_theta": float(theta),
        "local_rope_theta": float(local),
        "rope_scaling": _read_scaling(far, longest),
    }


def _write_rope_by_kind(config: DecoderConfig) -> dict[str, Any]:
    scaling, local = _write_scaling(config.rope_scaling), config.local_rope_theta or config.rope_theta
    return {
        "rope_theta": config.rope_theta,
        "rope_local_base_freq": local,
        "rope_scaling": scaling if config.rope_scaling else None,
        "rope_parameters": {
            "full_attention": {**scaling, "rope_theta": config.rope_theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": local},
        },
    }


ROPE_BY_KIND = FieldPart(_read_rope_by_kind, _write_rope_by_kind)
"""A base of their own in the layers with a window (Gemma 3)."""


# Windows. ----------------------------------------------------------------------------------------------

_KINDS = {"sliding_attention": True, "full_attention": False}
_NAMES = {local: name for name, local in _KINDS.items()}


def _windows(given: FieldReader, default: Callable[[int], bool]) -> dict[str, Any]:
    """The window and its pattern; layers that ``layer_types`` does not name are as the family has them."""
    depth, types, window = given.required("num_hidden_layers"), given["layer_types"], given["sliding_window"]
    if types is None:
        local = [default(layer) for layer in range(depth)]
    else:
        for kind in types:
            if kind not in _KINDS:
                raise unknown("layer type in config.json", str(kind), _KINDS)
        if len(types) != depth:
            raise UserError(f"config.json: layer_types names {len(types)} layers of {depth}.")
        local = [_KINDS[kind] for kind in types]
    if not any(local) or window is None:
        return {"sliding_window": None}
    return {"sliding_window": window, "window_pattern": shortest_pattern(local)}


def shortest_pattern(local: Sequence[bool]) -> tuple[bool, ...]:
    """The shortest cycle that gives these layers.

    >>> shortest_pattern([True, False, True, False, True])
    (True, False)
    """
    for length in range(1, len(local) + 1):
        if all(local[i] == local[i % length] for i in range(len(local))):
            return tuple(local[:length])
    return (True,)


def _layer_types(config: DecoderConfig) -> list[str]:
    return [_NAMES[local] for local in config.local_layers]


def _write_late(config: DecoderConfig) -> dict[str, Any]:
    local = config.local_layers
    return {
        "use_sliding_window": config.sliding_window is not None,
        "sliding_window": config.sliding_window,
        "max_window_layers": local.index(True) if any(local) else len(local),
        "layer_types": _layer_types(config),
    }


def _read_late(given: FieldReader) -> dict[str, Any]:
    first = given["max_window_layers"]
    read = _windows(given, lambda layer: layer >= (28 if first is None else first))
    return read if given["use_sliding_window"] else {"sliding_window": None}


def _read_five_of_six(given: FieldReader) -> dict[str, Any]:
    cycle = given["sliding_window_pattern"] or 6
    return _windows(given, lambda layer: bool((layer + 1) % cycle))


def _write_five_of_six(config: DecoderConfig) -> dict[str, Any]:
    written: dict[str, Any] = {"sliding_window": config.sliding_window or 4096, "layer_types": _layer_types(config)}
    pattern = config.window_pattern
    if config.sliding_window and pattern == (*(True,) * (len(pattern) - 1), False):
        written["sliding_window_pattern"] = len(pattern)  # all that transformers before 4.53 understands
    return written


EVERY_WINDOW = FieldPart(
    lambda given: {"sliding_window": given["sliding_window"]}, lambda config: {"sliding_window": config.sliding_window}
)
"""In all layers or in none (Mistral)."""
LATE_WINDOWS = FieldPart(_read_late, _write_late)
"""From a layer on (Qwen)."""
ALTERNATE_WINDOWS = FieldPart(
    lambda given: _windows(given, lambda layer: layer % 2 == 0),
    lambda config: {"sliding_window": config.sliding_window or 4096, "layer_types": _layer_types(config)},
)
"""In every other layer (Gemma 2)."""
FIVE_OF_SIX_WINDOWS = FieldPart(_read_five_of_six, _write_five_of_six)
"""In five of six layers (Gemma 3)."""
