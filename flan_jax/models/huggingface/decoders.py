"""The decoders of Hugging Face transformers: names of tensors and fields of ``config.json``, in and out.

A family is one row of ``FAMILIES``: what its configuration says, what it always is, and how its tensors are
called.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from flan_jax.errors import UserError, did_you_mean, unknown
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.config_fields import (
    GPT2_SCALE,
    NO_EFFECT,
    FieldPart,
    FieldReader,
    activation,
    read_tokens,
    write_tokens,
)
from flan_jax.models.huggingface.rope_fields import ROPE, ROPE_BY_KIND
from flan_jax.models.huggingface.tensor_names import GPT2_NAMES, LLAMA_NAMES, POST_NORM_NAMES
from flan_jax.models.huggingface.tensors import TensorLayout
from flan_jax.models.huggingface.window_fields import (
    ALTERNATE_WINDOWS,
    EVERY_WINDOW,
    FIVE_OF_SIX_WINDOWS,
    LATE_WINDOWS,
)

_SIZES = {  # transformers' name: ours
    "vocab_size": "vocab_size",
    "hidden_size": "d_model",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "num_key_value_heads": "num_kv_heads",
    "head_dim": "d_head",
    "intermediate_size": "d_ff",
    "rms_norm_eps": "norm_epsilon",
    "max_position_embeddings": "max_positions",
    "tie_word_embeddings": "tie_embeddings",
}
_GPT2_SIZES = {
    "vocab_size": "vocab_size",
    "n_embd": "d_model",
    "n_layer": "num_layers",
    "n_head": "num_heads",
    "n_inner": "d_ff",
    "layer_norm_epsilon": "norm_epsilon",
    "n_positions": "max_positions",
    "tie_word_embeddings": "tie_embeddings",
    "resid_pdrop": "dropout_rate",
}


class Family(NamedTuple):
    """The format of one kind of decoder in transformers.

    Attributes:
        architecture: the class.
        names: tensors' names, with ``{}`` for the layer, to our parameters.
        defaults: what the class assumes where a config.json is silent.
        fixed: what our configuration has in every model of this kind.
        fields: transformers' names of fields to ours.
        parts: what takes more than a name: activation, positions, windows.
        has_attention_bias: whether ``attention_bias`` gives all four projections of attention a bias.
        has_query_width: whether ``query_pre_attn_scalar`` gives the scale of the scores.
        transposed: whether kernels are stored outputs first.
        ignored: further fields that change nothing.
        needs_even_heads: transformers 5 refuses a width that is no multiple of the heads, whatever ``head_dim`` says.
    """

    architecture: str
    names: Mapping[str, str] = LLAMA_NAMES
    defaults: Mapping[str, Any] = {}
    fixed: Mapping[str, Any] = {}
    fields: Mapping[str, str] = _SIZES
    parts: tuple[FieldPart, ...] = (activation("hidden_act"), ROPE)
    has_attention_bias: bool = True
    has_query_width: bool = False
    transposed: bool = True
    ignored: tuple[str, ...] = ()
    needs_even_heads: bool = False


_SILU = activation("hidden_act")
_GELU = activation("hidden_activation")
_GEMMA = {"norm_offset": True, "embed_scale": True}
_SHARED = {
    "rms_norm_eps": 1e-6, "tie_word_embeddings": False, "max_position_embeddings": 2048, "hidden_act": "silu",
    "attention_bias": False,
}  # fmt: skip
_LLAMA = {**_SHARED, "bos_token_id": 1, "eos_token_id": 2, "mlp_bias": False}
_QWEN = {**_SHARED, "max_position_embeddings": 32768, "sliding_window": 4096}
_GEMMA_SHARED = {
    **_SHARED, "head_dim": 256, "tie_word_embeddings": True, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1,
    "max_position_embeddings": 8192,
}  # fmt: skip
_GEMMA_LATER = {
    **_GEMMA_SHARED, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 256, "sliding_window": 4096
}  # fmt: skip

FAMILIES: dict[str, Family] = {
    "llama": Family(
        "LlamaForCausalLM", defaults=_LLAMA, fields={**_SIZES, "mlp_bias": "mlp_bias"}, ignored=("pretraining_tp",),
        needs_even_heads=True,
    ),
    "qwen2": Family(
        "Qwen2ForCausalLM", defaults=_QWEN, fixed={"attention_bias": True}, parts=(_SILU, ROPE, LATE_WINDOWS), has_attention_bias=False
    ),
    "mistral": Family(
        "MistralForCausalLM",
        defaults={**_LLAMA, "num_key_value_heads": 8, "max_position_embeddings": 131072, "sliding_window": 4096},
        parts=(_SILU, ROPE, EVERY_WINDOW),
        has_attention_bias=False,
    ),
    "gpt2": Family(
        "GPT2LMHeadModel",
        names=GPT2_NAMES,
        defaults={
            "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True, "n_positions": 1024, "resid_pdrop": 0.1,
            "bos_token_id": 50256, "eos_token_id": 50256, "activation_function": "gelu_new", "scale_attn_weights": True,
        },
        fixed={"norm": "layer", "position": "learned", "attention_bias": True, "output_bias": True, "mlp_bias": True},
        fields=_GPT2_SIZES,
        parts=(activation("activation_function", gated=False), GPT2_SCALE),
        has_attention_bias=False,
        transposed=False,
        ignored=("n_ctx", "embd_pdrop", "attn_pdrop", "reorder_and_upcast_attn"),
    ),
    "qwen3": Family(
        "Qwen3ForCausalLM",
        defaults={**_QWEN, "head_dim": 128},
        fixed={"qk_norm": "head"},
        parts=(_SILU, ROPE, LATE_WINDOWS),
    ),
    "gemma": Family(
        "GemmaForCausalLM",
        defaults={**_GEMMA_SHARED, "hidden_act": "gelu_pytorch_tanh"},
        fixed=_GEMMA,
        parts=(activation("hidden_act", gelu_is_tanh=True), ROPE),
    ),
    "olmo2": Family(
        "Olmo2ForCausalLM",
        names=POST_NORM_NAMES,
        defaults={**_SHARED, "rms_norm_eps": 1e-5, "eos_token_id": 50279, "pad_token_id": 1},
        fixed={"norm_placement": "post", "qk_norm": "full"},
    ),
    "gemma2": Family(
        "Gemma2ForCausalLM",
        names=POST_NORM_NAMES,
        defaults={**_GEMMA_LATER, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
        fixed={**_GEMMA, "norm_placement": "both"},
        fields={**_SIZES, "attn_logit_softcapping": "attention_softcap", "final_logit_softcapping": "logit_softcap"},
        parts=(_GELU, ROPE, ALTERNATE_WINDOWS),
        has_query_width=True,
        ignored=("hidden_act",),
        needs_even_heads=True,
    ),
    "gemma3_text": Family(
        "Gemma3ForCausalLM",
        names=POST_NORM_NAMES,
        defaults={
            **_GEMMA_LATER, "vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4,
            "max_position_embeddings": 131072,
        },
        fixed={**_GEMMA, "norm_placement": "both", "qk_norm": "head"},
        fields={**_SIZES, "final_logit_softcapping": "logit_softcap"},
        parts=(_GELU, ROPE_BY_KIND, FIVE_OF_SIX_WINDOWS),
        has_query_width=True,
        ignored=("hidden_act",),
        needs_even_heads=True,
    ),
}  # fmt: skip

# What our configuration has and no config.json tells.
_OURS_ALONE = ("dtype", "remat", "attention", "dropout_rate", "pad_id", "reads_start", "family")


def config_from_fields(config: Mapping[str, Any], *, dtype: str = "float32") -> DecoderConfig:
    """Reads the configuration in a ``config.json``.

    Args:
        config: the parsed file.
        dtype: the compute type, which is ours to choose.

    Raises:
        UserError: another kind of model, a missing size, or a field whose effect is unknown here.
    """
    if config.get("model_type") == "gemma3" and isinstance(config.get("text_config"), Mapping):
        # Gemma 3 from 4B on is published with a vision tower; its language model is a Gemma 3 like the others.
        config = {**config["text_config"], "model_type": "gemma3_text"}
    kind = config.get("model_type")
    if kind not in FAMILIES:
        raise unknown("model_type", str(kind), FAMILIES, remedy="It stands in config.json.")
    family = FAMILIES[kind]
    _check_architecture(config.get("architectures") or [], family)
    given = FieldReader(config, family.defaults)
    optional = {"num_kv_heads", "d_head", "d_ff" if kind == "gpt2" else "", "attention_softcap", "logit_softcap"}
    values = {
        ours: given[theirs] if ours in optional else given.required(theirs) for theirs, ours in family.fields.items()
    }
    heads, width = values["num_heads"], values["d_model"]
    values["num_kv_heads"] = values.get("num_kv_heads") or heads
    values["d_head"] = values.get("d_head") or width // heads
    values["d_ff"] = values["d_ff"] or 4 * width
    values |= {**family.fixed, "family": kind, **read_tokens(given)}
    if family.has_attention_bias:
        values["attention_bias"] = values["output_bias"] = bool(given["attention_bias"])
    if family.has_query_width:
        values["query_scale"] = float(given["query_pre_attn_scalar"]) ** -0.5
    for part in family.parts:
        values |= part.read(given)
    given.refuse_the_rest(kind, {*NO_EFFECT, *family.ignored})
    if values.get("sliding_window") is None:
        values.pop("local_rope_theta", None)  # of layers that there are none of
    return DecoderConfig(**values, dtype=dtype)


def fields_from_config(config: DecoderConfig) -> dict[str, Any]:
    """Writes the ``config.json`` that lets transformers (4 or 5) compute what this model does.

    A family of which transformers refuses the shape gives way to another one that computes the same.

    Raises:
        UserError: no family has this shape, or not the one that ``config.family`` names.
    """
    if config.prefix_lm:
        raise UserError(
            "A prefix model cannot be exported: in transformers its inputs would be read in one direction only. "
            "Set prefix_lm=False to export the weights as those of a causal model."
        )
    if config.family and config.family not in FAMILIES:
        raise unknown("family", config.family, FAMILIES)
    kinds = [config.family] if config.family else list(FAMILIES)
    lossy_fields = {kind: _lossy_fields(config, kind) for kind in kinds}
    for kind in kinds:
        if not lossy_fields[kind]:
            return _write(config, kind)
    if config.family:
        others = [kind for kind in FAMILIES if not _lossy_fields(config, kind)]
        if others and not _lossy_fields(config, config.family, loadable=False):
            return _write(config, others[0])  # the same model by a name under which transformers loads it
        remedy = f"Set family={others[0]!r}, which has it so." if others else "No other family has it so either."
        raise UserError(
            f"The model is no {config.family!r} of transformers: {lossy_fields[config.family][0]}. {remedy}"
        )
    nearest = min(lossy_fields, key=lambda kind: len(lossy_fields[kind]))
    raise UserError(
        f"No family of transformers has this shape; the nearest is {nearest!r}, but {'; '.join(lossy_fields[nearest][:3])}."
    )


def _write(config: DecoderConfig, kind: str) -> dict[str, Any]:
    family = FAMILIES[kind]
    written: dict[str, Any] = {"architectures": [family.architecture], "model_type": kind}
    written |= {theirs: getattr(config, ours) for theirs, ours in family.fields.items()}
    if kind == "gpt2":
        written |= {"embd_pdrop": config.dropout_rate, "attn_pdrop": config.dropout_rate}
    if family.has_attention_bias:
        written["attention_bias"] = config.attention_bias
    if family.has_query_width:
        scale = config.query_scale or config.d_head**-0.5
        written["query_pre_attn_scalar"] = max(1, round(scale**-2))
    written |= write_tokens(config, family.defaults.get("pad_token_id"))
    for part in family.parts:
        written |= part.write(config)
    return written


def _lossy_fields(config: DecoderConfig, kind: str, *, loadable: bool = True) -> list[str]:
    """Lists what is lost when the configuration is written as one of this kind and read again.

    Args:
        config: of the model.
        kind: the family.
        loadable: count it as lost that transformers refuses what is written.
    """
    if loadable and FAMILIES[kind].needs_even_heads and config.d_model % config.num_heads:
        heads = f"d_model={config.d_model} is no multiple of num_heads={config.num_heads}"
        refused = f"{heads}, and transformers refuses such a {kind}, whatever its head_dim"
        return [*_lossy_fields(config, kind, loadable=False), refused]
    ours = dict(_effects(config))
    try:
        theirs = dict(_effects(config_from_fields(_write(config, kind))))
    except UserError as error:  # it has no word for something: as far away as can be
        return [f"it has no such value. {error}", *ours]
    return [f"{name} is {ours[name]!r}, there {theirs[name]!r}" for name in ours if ours[name] != theirs[name]]


def _effects(config: DecoderConfig) -> Iterator[tuple[str, Any]]:
    """Yields the fields that a config.json can express, each in the canonical form that equal models share."""
    for field in dataclasses.fields(config):
        if field.name not in _OURS_ALONE:
            yield field.name, config.effect(field.name)


def _check_architecture(architectures: list[str], family: Family) -> None:
    for name in architectures:
        if name not in (family.architecture, "Gemma3ForConditionalGeneration") and not name.endswith("Model"):
            known = [row.architecture for row in FAMILIES.values()]
            hint = did_you_mean(name, known)
            raise UserError(f"config.json has the architecture {name!r}; {family.architecture!r} is read.{hint}")


_UNUSED = ("rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias")  # constants that older files carry
_OTHER_TOWERS = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")


def layout(config: DecoderConfig) -> TensorLayout:
    """Returns the tensor layout of the model's family; without one, of the first of its shape."""
    kind = config.family or fields_from_config(config)["model_type"]
    family = FAMILIES[kind]
    base = "transformer." if kind == "gpt2" else "model."
    embedding = next(name for name, ours in family.names.items() if ours == "embedding")

    def canonical_name(name: str) -> str | None:
        if name.endswith(_UNUSED) or name.startswith(_OTHER_TOWERS):
            return None
        name = name.replace("model.language_model.", "model.", 1).removeprefix("language_model.")
        return name if name.startswith((base, "lm_head.")) else base + name  # saved without the head

    return TensorLayout(
        family.names,
        family.transposed,
        canonical_name,
        copies={"lm_head.weight": embedding} if config.tie_embeddings else {},
    )
