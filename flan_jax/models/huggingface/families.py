"""The family of transformers that a model belongs to: the one place that tells kinds of models apart."""

from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError, unknown
from flan_jax.models.build import ModelConfig
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface import decoders, t5, t5gemma
from flan_jax.models.huggingface.field_types import check_kinds
from flan_jax.models.huggingface.relatives import RELATIVES
from flan_jax.models.huggingface.tensors import TensorLayout
from flan_jax.models.t5.config import T5Config
from flan_jax.models.t5gemma.config import T5GemmaConfig


def config_from_fields(fields: Mapping[str, Any], *, dtype: str = "float32") -> ModelConfig:
    """Reads the model that a ``config.json`` describes.

    Args:
        fields: the parsed file.
        dtype: the compute type, which is ours to choose.

    Raises:
        UserError: an unknown kind of model (the nearest one is named), a missing size, a value of another
            kind than its field, or a field whose effect is unknown here.
    """
    check_kinds(fields)
    for part in ("text_config", "encoder", "decoder"):
        if isinstance(fields.get(part), Mapping):
            check_kinds(fields[part])
            inner = fields[part].get("text_config")
            check_kinds(inner if isinstance(inner, Mapping) else {})
    kind = fields.get("model_type", "t5")
    if kind in RELATIVES and kind not in decoders.FAMILIES:
        nearest, differs = RELATIVES[kind]
        raise UserError(
            f"config.json describes a model of type {kind!r}, which is not supported: {differs}. The nearest that is read is "
            f"{nearest!r}."
        )
    if kind in t5.MODEL_TYPES:
        return t5.config_from_fields(fields, dtype=dtype)
    if kind in t5gemma.MODEL_TYPES:
        return t5gemma.config_from_fields(fields, dtype=dtype)
    if kind in decoders.wrapped() or kind in decoders.FAMILIES:
        return decoders.config_from_fields(fields, dtype=dtype)
    known = [*t5.MODEL_TYPES, *t5gemma.MODEL_TYPES, *decoders.FAMILIES]
    raise unknown("model_type", str(kind), known, remedy="It stands in config.json.")


def fields_from_config(config: ModelConfig) -> dict[str, Any]:
    """Writes the ``config.json`` that lets transformers (4 or 5) compute what this model does.

    Raises:
        UserError: transformers has no such model.
    """
    fields: dict[str, Any] = _module(config).fields_from_config(config)
    return fields


def layout(config: ModelConfig) -> TensorLayout:
    """Returns where the parameters of a model lie in transformers' tensors."""
    found: TensorLayout = _module(config).layout(config)
    return found


def carry_fields(config: ModelConfig, fields: dict[str, Any], source: Mapping[str, Any]) -> None:
    """Adds to fields that are written what the model's own ``config.json`` says of parts that it does not use.

    Args:
        config: of the model.
        fields: to be written.
        source: the file that the model was read from.
    """
    if isinstance(config, T5GemmaConfig):
        t5gemma.carry_fields(fields, source)
    if isinstance(config, DecoderConfig):
        decoders.carry_fields(fields, source)


def auto_class(config: ModelConfig) -> str:
    """Returns the name of the class by which transformers loads such a model."""
    return "AutoModelForCausalLM" if config.decoder_only else "AutoModelForSeq2SeqLM"


def check_family(config: ModelConfig) -> None:
    """Checks the family as which a decoder is to be exported; an unknown one is a UserError."""
    known = {"", *decoders.FAMILIES, *decoders.whole_kinds()}
    if isinstance(config, DecoderConfig) and config.family not in known:
        raise unknown("DecoderConfig.family", config.family, decoders.FAMILIES)


def _module(config: ModelConfig) -> Any:
    return _MODULES[type(config)]


_MODULES: dict[type, Any] = {DecoderConfig: decoders, T5GemmaConfig: t5gemma, T5Config: t5}
