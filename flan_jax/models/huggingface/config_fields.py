"""Fields of a ``config.json``: the reader that refuses unknown ones, activations and special tokens.

What needs more than a name is a ``FieldPart``: a function that reads fields of ``DecoderConfig`` and one that writes what
transformers 4 and 5 read.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from flan_jax.errors import UserError, unknown
from flan_jax.models.build import ModelConfig
from flan_jax.models.decoder.config import DecoderConfig

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
    """Reads fields of a ``config.json`` and records which were read.

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
        """Returns the file's own value, ``None`` where it is silent."""
        self._seen.add(name)
        return self._config.get(name)

    def required(self, name: str) -> Any:
        """Returns the value of a field.

        Raises:
            UserError: there is none.
        """
        value = self[name]
        if value is None:
            raise UserError(f"config.json has no {name!r}. Take the file that was saved with the weights.")
        return value

    def refuse_the_rest(self, kind: str, ignored: Collection[str]) -> None:
        """Refuses fields that were not read: their effect is unknown.

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
    """A pair of functions that read and write a few fields.

    Attributes:
        read: from the file, the width of a head being known, to fields of ``DecoderConfig``.
        write: back.
    """

    read: Callable[[FieldReader], dict[str, Any]]
    write: Callable[[DecoderConfig], dict[str, Any]]


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
    """Creates the part for the activation in the field ``name``; ``gelu`` is the tanh approximation in files of Gemma 1."""
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
    """Reads the ids of padding, end and beginning; of several ends the first, the others as ``stop_ids``."""
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
    """Writes them; 0 is a padding token only in families that have it so, as transformers does not train its embedding."""
    pad_id = config.pad_id or (family_pad and config.pad_id)
    return {"pad_token_id": pad_id, "eos_token_id": eos_field(config), "bos_token_id": config.bos_id}


def eos_field(config: ModelConfig) -> int | list[int]:
    """Returns ``eos_token_id``: a list where several tokens end what is generated."""
    return [config.eos_id, *config.stop_ids] if config.stop_ids else config.eos_id
