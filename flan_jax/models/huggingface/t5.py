"""The T5 family of transformers (T5 1.0 and 1.1, FLAN-T5, LM-adapted T5, mT5, ByT5): ``config.json``, in and out."""

from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError, unknown
from flan_jax.models.huggingface.config_fields import NO_EFFECT, FieldReader, eos_field
from flan_jax.models.huggingface.tensor_names import T5_NAMES
from flan_jax.models.huggingface.tensors import TensorLayout
from flan_jax.models.t5.config import T5Config

MODEL_TYPES = ("t5", "mt5")
ARCHITECTURES = (
    "T5ForConditionalGeneration",
    "MT5ForConditionalGeneration",
    "T5WithLMHeadModel",
    "T5Model",
    "MT5Model",
)

_FIELDS = {  # transformers' name: ours
    "vocab_size": "vocab_size",
    "d_model": "d_model",
    "d_kv": "d_kv",
    "num_heads": "num_heads",
    "d_ff": "d_ff",
    "num_layers": "num_encoder_layers",
    "num_decoder_layers": "num_decoder_layers",
    "relative_attention_num_buckets": "relative_attention_num_buckets",
    "relative_attention_max_distance": "relative_attention_max_distance",
    "feed_forward_proj": "mlp_activation",
    "layer_norm_epsilon": "layer_norm_epsilon",
    "dropout_rate": "dropout_rate",
    "initializer_factor": "initializer_factor",
    "pad_token_id": "pad_id",
    "eos_token_id": "eos_id",
    "decoder_start_token_id": "decoder_start_id",
}
# transformers' feed_forward_proj: our mlp_activation. Behind a gate its "gelu" is the tanh approximation.
_ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "silu": "silu",
    "gated-gelu": "gated-gelu_tanh",
    "gated-silu": "gated-silu",
}
# What transformers assumes where a config.json is silent; ours where the two agree.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "t5": {"feed_forward_proj": "relu", "dropout_rate": 0.1, "tie_word_embeddings": True},
    "mt5": {"feed_forward_proj": "gated-gelu", "dropout_rate": 0.1, "tie_word_embeddings": False},
}
# Fields that follow from others, or that nothing reads.
_IGNORED = (
    "dense_act_fn", "is_gated_act", "n_positions", "output_past", "classifier_dropout", "gradient_checkpointing",
    "is_decoder", "d_head", "bos_token_id", "lm_head_bias", "scalable_attention", "input_length",
)  # fmt: skip
# Other names of the embedding, and a table that early files carry and transformers ignores too.
_EMBEDDINGS = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
_UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"


def config_from_fields(fields: Mapping[str, Any], *, dtype: str = "float32") -> T5Config:
    """Reads the configuration in a ``config.json``.

    transformers scales the output of T5 1.0 by ``d_model ** -0.5`` and not that of T5 1.1, and up to
    version 4 ``tie_word_embeddings`` alone tells the two apart. Version 5 writes it as true for both and
    puts the difference into ``scale_decoder_outputs``, which therefore is believed first.

    Args:
        fields: the parsed file.
        dtype: the compute type, which is ours to choose.

    Raises:
        UserError: another kind of model, a missing size, an activation that we do not have, or a field whose
            effect is unknown here.
    """
    kind = fields.get("model_type", "t5")
    if kind not in MODEL_TYPES:
        raise unknown("model_type", str(kind), MODEL_TYPES, remedy="It stands in config.json.")
    for name in fields.get("architectures") or []:
        if name not in ARCHITECTURES:
            raise unknown("architecture", str(name), ARCHITECTURES, remedy="It stands in config.json.")
    given = FieldReader(fields, _DEFAULTS[kind])
    values = {ours: given[theirs] for theirs, ours in _FIELDS.items() if given[theirs] is not None}
    values.setdefault("num_decoder_layers", values.get("num_encoder_layers"))
    for theirs in ("vocab_size", "d_model", "d_kv", "num_heads", "d_ff", "num_layers"):
        given.required(theirs)
    if values["mlp_activation"] not in _ACTIVATIONS:
        raise UserError(
            f"config.json: feed_forward_proj {values['mlp_activation']!r} is not supported; known: {', '.join(_ACTIVATIONS)}."
        )
    values["mlp_activation"] = _ACTIVATIONS[values["mlp_activation"]]
    if isinstance(values.get("eos_id"), list | tuple):
        values["eos_id"], *others = values["eos_id"]
        values["stop_ids"] = tuple(others)
    tied = given["tie_word_embeddings"]
    scaled = given["scale_decoder_outputs"]
    given.refuse_the_rest(kind, {*NO_EFFECT, *_IGNORED})
    # An mT5 is never tied: version 5 writes that it is, whatever it is, and has no scale.
    tied = kind != "mt5" and bool(tied if scaled is None else scaled)
    return T5Config(**values, tie_embeddings=tied, dtype=dtype)


def fields_from_config(config: T5Config) -> dict[str, Any]:
    """Writes the ``config.json`` that lets transformers (4 or 5) compute what this model does.

    Raises:
        UserError: transformers' T5 has no such activation.
    """
    theirs_of = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}
    if config.mlp_activation not in theirs_of:
        raise UserError(
            f"transformers' T5 has no activation {config.mlp_activation!r}, so this model cannot be exported; it has "
            f"{', '.join(map(repr, theirs_of))}."
        )
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "tie_word_embeddings": config.tie_embeddings,
        "scale_decoder_outputs": config.tie_embeddings,
        **{theirs: getattr(config, ours) for theirs, ours in _FIELDS.items()},
        "feed_forward_proj": theirs_of[config.mlp_activation],
        "eos_token_id": eos_field(config),
    }


def layout(config: T5Config) -> TensorLayout:
    """Returns the tensor layout of ``T5ForConditionalGeneration``.

    A file may hold the embedding under any of its names, and transformers takes the output projection to be
    the embedding where no tensor says otherwise.
    """
    aliases = (*_EMBEDDINGS, *(["lm_head.weight"] if config.tie_embeddings else []))
    return TensorLayout(
        T5_NAMES,
        canonical_name=lambda name: None if name == _UNUSED else name,
        copies=dict.fromkeys(aliases, "shared.weight"),
        fallbacks={} if config.tie_embeddings else {"lm_head.weight": "shared.weight"},
    )
