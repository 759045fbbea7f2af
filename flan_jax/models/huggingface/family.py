"""A family of decoders in the format of transformers: what one row says, and how a ``config.json`` is read and written by it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.config_fields import (
    NO_EFFECT,
    FieldPart,
    FieldReader,
    activation,
    read_tokens,
    write_tokens,
)
from flan_jax.models.huggingface.rope_fields import ROPE
from flan_jax.models.huggingface.tensor_names import LLAMA_NAMES

SIZES = {  # transformers' name: ours
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
SHARED = {
    "rms_norm_eps": 1e-6, "tie_word_embeddings": False, "max_position_embeddings": 2048, "hidden_act": "silu",
    "attention_bias": False,
}  # fmt: skip
"""What many classes assume where a config.json is silent."""
SILU = activation("hidden_act")
_OPTIONAL = ("num_kv_heads", "d_head", "attention_softcap", "logit_softcap")


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
        optional: our fields that a file may be silent about, beside those of all kinds.
        dropouts: further fields that are given the rate of dropout.
        base: what stands in front of the names of all tensors but the output projection's.
        absent: names of tensors that there are none of, though the table has them of every layer.
        wrapped: kinds of models with other towers whose ``text_config`` is of this kind → their classes.
        towers: what the names of their other tensors begin with, where a model of such a kind goes out as one, with
            these as they came in; () where its text goes out alone.
        needs_even_heads: transformers 5 refuses a width that is no multiple of the heads, whatever ``head_dim`` says.
    """

    architecture: str
    names: Mapping[str, str] = LLAMA_NAMES
    defaults: Mapping[str, Any] = {}
    fixed: Mapping[str, Any] = {}
    fields: Mapping[str, str] = SIZES
    parts: tuple[FieldPart, ...] = (activation("hidden_act"), ROPE)
    has_attention_bias: bool = True
    has_query_width: bool = False
    transposed: bool = True
    ignored: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    dropouts: tuple[str, ...] = ()
    base: str = "model."
    absent: tuple[str, ...] = ()
    wrapped: Mapping[str, str] = {}
    towers: tuple[str, ...] = ()
    needs_even_heads: bool = False


def read_family(family: Family, kind: str, config: Mapping[str, Any], *, dtype: str = "float32") -> DecoderConfig:
    """Reads the configuration in a ``config.json`` of this family.

    Args:
        family: the row.
        kind: its name.
        config: the parsed file.
        dtype: the compute type, which is ours to choose.

    Raises:
        UserError: a missing size, or a field whose effect is unknown here.
    """
    given = FieldReader(config, family.defaults)
    optional = {*_OPTIONAL, *family.optional}
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
    given.refuse_the_rest(kind, {*NO_EFFECT, *family.ignored, *family.dropouts})
    if values.get("sliding_window") is None:
        values.pop("local_rope_theta", None)  # of layers that there are none of
    return DecoderConfig(**values, dtype=dtype)


def write_family(family: Family, kind: str, config: DecoderConfig) -> dict[str, Any]:
    """Writes the ``config.json`` of a model of this family; ``read_family`` tells what of it is lost."""
    written: dict[str, Any] = {"architectures": [family.architecture], "model_type": kind}
    written |= {theirs: getattr(config, ours) for theirs, ours in family.fields.items()}
    written |= dict.fromkeys(family.dropouts, config.dropout_rate)
    if family.has_attention_bias:
        written["attention_bias"] = config.attention_bias
    if family.has_query_width:
        scale = config.query_scale or config.d_head**-0.5
        written["query_pre_attn_scalar"] = max(1, round(scale**-2))
    written |= write_tokens(config, family.defaults.get("pad_token_id"))
    for part in family.parts:
        written |= part.write(config)
    return written
