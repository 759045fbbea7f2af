"""T5Gemma 1 and 2 of transformers: ``config.json`` and tensors, in and out.

Each side is written as a Gemma 2 or 3 is. What only images need, the vision tower and its fields, is carried along.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError
from flan_jax.models.config_difference import START
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.config_fields import NO_EFFECT, FieldReader, eos_field
from flan_jax.models.huggingface.decoder_families import gemma2, gemma3
from flan_jax.models.huggingface.family import Family, read_family, write_family
from flan_jax.models.huggingface.tensors import TensorLayout
from flan_jax.models.t5gemma.config import ENCODER_SIZES, T5GemmaConfig

MODEL_TYPES = ("t5gemma", "t5gemma2")
_ARCHITECTURES = {
    "t5gemma": "T5GemmaForConditionalGeneration",
    "t5gemma2": "T5Gemma2ForConditionalGeneration",
}
_IGNORED = ("classifier_dropout_rate", "cross_attention_hidden_size", "dropout_rate", "hidden_act", "attention_dropout")
_SIDES: dict[str, Family] = {
    "t5gemma": gemma2.FAMILY._replace(
        ignored=_IGNORED, defaults={**gemma2.FAMILY.defaults, "hidden_size": 2304, "num_attention_heads": 8,
        "num_key_value_heads": 4, "num_hidden_layers": 26, "intermediate_size": 9216, "vocab_size": 256000},
    ),
    "t5gemma2": gemma3.FAMILY._replace(
        ignored=(*_IGNORED, "attn_logit_softcapping"), defaults={**gemma3.FAMILY.defaults, "hidden_size": 2304,
        "num_hidden_layers": 26, "intermediate_size": 9216},
    ),
}  # fmt: skip
_SIDE_TYPES = {"t5gemma": ("t5_gemma_module",) * 2, "t5gemma2": ("t5gemma2_text", "t5gemma2_decoder")}
# What both sides have to have alike, as our configuration has it once.
_SHARED = (
    "vocab_size", "norm_epsilon", "mlp_activation", "rope_theta", "rope_scaling", "local_rope_theta", "max_positions",
    "sliding_window", "attention_softcap", "tie_embeddings",
)  # fmt: skip
_EOI_DEFAULT = 256000
# Fields that only images need, of the whole and of the encoder: carried from the file that was read to the one written.
_IMAGE_FIELDS = ("image_token_index",)
_ENCODER_IMAGE_FIELDS = ("vision_config", "boi_token_index", "image_token_index", "mm_tokens_per_image")
_TOWERS = ("model.encoder.vision_tower.", "model.encoder.multi_modal_projector.")


def config_from_fields(fields: Mapping[str, Any], *, dtype: str = "float32") -> T5GemmaConfig:
    """Reads the configuration in a ``config.json``; images' fields are left out.

    Args:
        fields: the parsed file.
        dtype: the compute type, which is ours to choose.

    Raises:
        UserError: a missing side or size, sides that differ in what they share here, or a field whose effect is unknown.
    """
    kind = fields["model_type"]
    for name in fields.get("architectures") or []:
        if name != _ARCHITECTURES[kind] and not name.endswith("Model"):
            raise UserError(f"config.json has the architecture {name!r}; {_ARCHITECTURES[kind]!r} is read.")
    given = FieldReader(fields, {"tie_word_embeddings": True, "dropout_rate": 0.0})
    parts = {side: given.required(side) for side in ("encoder", "decoder")}
    eoi_id = None
    if kind == "t5gemma2":
        eoi_id = parts["encoder"].get("eoi_token_index", _EOI_DEFAULT)
        parts["encoder"] = parts["encoder"].get("text_config") or {}
    tied, rate = bool(given["tie_word_embeddings"]), given["dropout_rate"]
    specials = {
        name: fields[name] for name in ("eos_token_id", "pad_token_id", "bos_token_id") if fields.get(name) is not None
    }
    encoder, decoder = (_read_side(kind, side, parts[side], dtype) for side in ("encoder", "decoder"))
    ends = read_family(_SIDES[kind], kind, {**_plain(parts["decoder"]), **specials})
    given.refuse_the_rest(kind, {*NO_EFFECT, *_IGNORED, *_IMAGE_FIELDS, *specials, "eoi_token_index", "vocab_size"})
    _check_alike(encoder, decoder)
    merged = kind == "t5gemma2"
    if merged and not tied:
        raise UserError(
            "config.json: tie_word_embeddings is false, but a T5Gemma 2 has one table for its inputs, its targets and its "
            "output. Set it to true."
        )
    own = {f"encoder_{name}": getattr(encoder, name) for name in ENCODER_SIZES}
    for name in ENCODER_SIZES:
        if own[f"encoder_{name}"] == getattr(decoder, name):
            own[f"encoder_{name}"] = None
    shared = {name: getattr(decoder, name) for name in (*_SHARED, *ENCODER_SIZES) if name != "tie_embeddings"}
    return T5GemmaConfig(
        num_encoder_layers=encoder.num_layers, num_decoder_layers=decoder.num_layers, window_pattern=_pattern(encoder, decoder),
        merged_attention=merged, shared_embedding=merged, halved_window=merged, qk_norm=decoder.qk_norm, eoi_id=eoi_id,
        tie_embeddings=tied, logit_softcap=decoder.logit_softcap, dropout_rate=rate, dtype=dtype, pad_id=ends.pad_id,
        eos_id=ends.eos_id, stop_ids=ends.stop_ids, decoder_start_id=2 if decoder.bos_id is None else decoder.bos_id,
        **shared, **own,
    )  # fmt: skip


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a side without those that say what it is in the whole."""
    return {name: value for name, value in fields.items() if name not in ("model_type", "is_decoder", "dropout_rate")}


def _read_side(kind: str, side: str, fields: Any, dtype: str) -> DecoderConfig:
    if not isinstance(fields, Mapping):
        raise UserError(f"config.json: {side} is {fields!r}; it has to be an object with the sizes of that side.")
    if kind == "t5gemma2" and fields.get("attn_logit_softcapping") is not None:
        raise UserError(
            f"config.json: {side} has attn_logit_softcapping={fields['attn_logit_softcapping']!r}, which transformers' T5Gemma 2 "
            "does not compute. Remove it if the model was trained without."
        )
    if fields.get("attention_bias"):
        raise UserError(f"config.json: {side} has attention_bias=true; a T5Gemma without biases is read.")
    found = read_family(_SIDES[kind], kind, _plain(fields), dtype=dtype)
    # The scale that follows from the width of a head is what silence says.
    return dataclasses.replace(found, query_scale=None) if found.query_scale == found.d_head**-0.5 else found


def _check_alike(encoder: DecoderConfig, decoder: DecoderConfig) -> None:
    for name in _SHARED:
        theirs, ours = getattr(encoder, name), getattr(decoder, name)
        if theirs != ours:
            raise UserError(
                f"config.json: the encoder's {name} is {theirs!r} and the decoder's {ours!r}; sides that differ in it are not "
                "read, only such that differ in their sizes."
            )


def _pattern(encoder: DecoderConfig, decoder: DecoderConfig) -> tuple[bool, ...]:
    """Returns the cycle of windows that both sides follow."""
    for cycle in (decoder.window_pattern, encoder.window_pattern):
        both = [dataclasses.replace(side, window_pattern=cycle).local_layers for side in (encoder, decoder)]
        if both == [encoder.local_layers, decoder.local_layers]:
            return cycle
    raise UserError(
        f"config.json: the encoder's layers have windows in the cycle {encoder.window_pattern}, the decoder's in {decoder.window_pattern}; "
        "sides that differ in it are not read."
    )


def fields_from_config(config: T5GemmaConfig) -> dict[str, Any]:
    """Writes the ``config.json`` that lets transformers compute what this model does.

    Raises:
        UserError: neither T5Gemma of transformers has this shape.
    """
    kind = "t5gemma2" if config.merged_attention else "t5gemma"
    written: dict[str, Any] = {}
    for side, side_type in zip(("encoder", "decoder"), _SIDE_TYPES[kind], strict=True):
        layers: DecoderConfig = getattr(config, side)
        if layers.d_model % layers.num_heads:
            raise UserError(
                f"The {side}'s d_model={layers.d_model} is no multiple of num_heads={layers.num_heads}, and transformers refuses "
                f"such a {kind}."
            )
        outer = dataclasses.replace(
            layers, logit_softcap=config.logit_softcap, tie_embeddings=config.tie_embeddings, stop_ids=config.stop_ids,
            bos_id=config.decoder_start_id,
        )  # fmt: skip
        own = write_family(_SIDES[kind], kind, outer)
        del own["architectures"]
        written[side] = {**own, "model_type": side_type, "dropout_rate": config.dropout_rate}
    if kind == "t5gemma2":
        eoi = {"eoi_token_index": config.eoi_id}
        written["encoder"] = {"model_type": "t5gemma2_encoder", "text_config": written["encoder"], **eoi}
        written |= eoi
    fields = {
        "architectures": [_ARCHITECTURES[kind]], "model_type": kind, "is_encoder_decoder": True, **written,
        "dropout_rate": config.dropout_rate, "tie_word_embeddings": config.tie_embeddings,
        "vocab_size": config.vocab_size, "pad_token_id": config.pad_id, "eos_token_id": eos_field(config),
        "bos_token_id": config.decoder_start_id, "decoder_start_token_id": config.decoder_start_id,
    }  # fmt: skip
    _check_kept(config, fields)
    return fields


def _check_kept(config: T5GemmaConfig, fields: Mapping[str, Any]) -> None:
    """Refuses a shape that is another one when it is read again."""
    again = config_from_fields(fields)
    for name in config.COMPARED:
        # What begins an input says the tokenizer, and no field of a T5Gemma.
        if name not in START and config.compared(name) != again.compared(name):
            raise UserError(
                f"transformers has no T5Gemma of this shape: {name} is {config.compared(name)!r}, there {again.compared(name)!r}."
            )


def carry_fields(fields: dict[str, Any], source: Mapping[str, Any]) -> None:
    """Adds the fields that only images need, from the file that the model was read from, to those that are written."""
    if source.get("model_type") != "t5gemma2" or fields["model_type"] != "t5gemma2":
        return
    fields |= {name: source[name] for name in _IMAGE_FIELDS if name in source}
    encoder = source.get("encoder") or {}
    fields["encoder"] |= {name: encoder[name] for name in _ENCODER_IMAGE_FIELDS if name in encoder}


def _side_names(theirs: str, ours: str) -> dict[str, str]:
    layer = f"{theirs}.layers.{{}}."
    names = {f"{theirs}.norm.weight": f"{ours}.norm.scale"}
    attentions = {"self_attn": "attention", **({"cross_attn": "cross_attention"} if ours == "decoder" else {})}
    for part, own in attentions.items():
        names |= {f"{layer}{part}.{x}_proj.weight": f"{ours}.layers.{own}.{x}" for x in "qkvo"}
        names |= {f"{layer}{part}.{x}_norm.weight": f"{ours}.layers.{own}.{x}_norm.scale" for x in "qk"}
        names |= {
            f"{layer}{when}_{part}_layernorm.weight": f"{ours}.layers.{own}.{norm}.scale"
            for when, norm in {"pre": "norm", "post": "post_norm"}.items()
        }
    kernels = {"gate": "wi_0", "up": "wi_1", "down": "wo"}
    names |= {f"{layer}mlp.{x}_proj.weight": f"{ours}.layers.mlp.{own}" for x, own in kernels.items()}
    return names | {
        f"{layer}{when}_feedforward_layernorm.weight": f"{ours}.layers.mlp.{norm}.scale"
        for when, norm in {"pre": "norm", "post": "post_norm"}.items()
    }


_DECODER_NAMES = _side_names("model.decoder", "decoder")
NAMES = {
    "t5gemma": {
        "model.encoder.embed_tokens.weight": "embedding",
        **_side_names("model.encoder", "encoder"),
        "model.decoder.embed_tokens.weight": "decoder.embedding",
        **_DECODER_NAMES,
        "lm_head.out_proj.weight": "lm_head",
    },
    "t5gemma2": {
        "model.encoder.embed_tokens.weight": "embedding",
        "model.encoder.embed_tokens.eoi_embedding": "eoi_embedding",
        **_side_names("model.encoder", "encoder"),
        **_DECODER_NAMES,
    },
}
_TABLE2 = "model.encoder.embed_tokens"


def layout(config: T5GemmaConfig) -> TensorLayout:
    """Returns the tensor layout of ``T5GemmaForConditionalGeneration`` or ``T5Gemma2ForConditionalGeneration``."""
    if not config.merged_attention:
        tied = {"lm_head.out_proj.weight": "model.decoder.embed_tokens.weight"} if config.tie_embeddings else {}
        return TensorLayout(NAMES["t5gemma"], copies=tied)
    copies = {
        "lm_head.out_proj.weight": f"{_TABLE2}.weight",
        "model.decoder.embed_tokens.weight": f"{_TABLE2}.weight",
        "model.decoder.embed_tokens.eoi_embedding": f"{_TABLE2}.eoi_embedding",
    }
    return TensorLayout(
        NAMES["t5gemma2"],
        # In files the encoder's layers have these names, in transformers' modules those of its text model.
        canonical_name=lambda name: (
            None if name.startswith(_TOWERS) else name.replace("model.encoder.text_model.", "model.encoder.", 1)
        ),
        copies=copies,
        carried=lambda name: name.startswith(_TOWERS),
    )
