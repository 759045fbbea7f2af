"""Comparison of model configurations: which fields decide what the same weights compute.

Every field of ``T5Config`` and ``DecoderConfig`` is in one of two lists. Fields that can say one thing in two ways
(a window's pattern, a scale that is the default) are compared in one form.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

from flan_jax.models.build import ModelConfig
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.ops.rope import RopeScaling
from flan_jax.models.t5.config import T5Config

# Trained weights are the same model's whatever these are, for the reason given.
_FREE_OF_BOTH = {
    "dropout_rate": "of training",
    "dtype": "of computing, not of what is computed",
    "remat": "of memory",
    "attention": "of memory and speed",
    "pad_id": "no token sees a place without one",
    "eos_id": "of the tokenizer, and compared with it",
    "stop_ids": "of what is written, and read by nothing",
}
FREE: dict[type, dict[str, str]] = {
    T5Config: {
        **_FREE_OF_BOTH,
        "initializer_factor": "of weights that are drawn, not read",
        "relative_bias_init": "of weights that are drawn, not read",
        "mimetic_init": "of weights that are drawn, not read",
    },
    DecoderConfig: {**_FREE_OF_BOTH, "family": "of the export"},
}
COMPARED: dict[type, tuple[str, ...]] = {
    T5Config: (
        "vocab_size", "d_model", "d_kv", "num_heads", "d_ff", "num_encoder_layers", "num_decoder_layers",
        "relative_attention_num_buckets", "relative_attention_max_distance", "mlp_activation", "tie_embeddings",
        "layer_norm_epsilon", "decoder_start_id",
    ),
    DecoderConfig: (
        "vocab_size", "d_model", "num_layers", "num_heads", "num_kv_heads", "d_head", "d_ff", "norm", "norm_offset",
        "norm_epsilon", "norm_placement", "mlp_activation", "attention_bias", "output_bias", "mlp_bias", "qk_norm", "position",
        "max_positions", "sliding_window", "window_pattern", "rope_theta", "rope_scaling", "local_rope_theta",
        "query_scale", "attention_softcap", "logit_softcap", "embed_scale", "tie_embeddings", "prefix_lm", "reads_start",
        "bos_id",
    ),
}  # fmt: skip
START = ("bos_id", "reads_start")
"""What a tokenizer says of the token in front of a text."""


class Difference(NamedTuple):
    """A field that two models have different values of."""

    name: str
    theirs: Any
    ours: Any


def effect(config: ModelConfig, name: str) -> Any:
    """Returns the value of a field in the canonical form that equal models share."""
    value = getattr(config, name)
    if not isinstance(config, DecoderConfig):
        return value
    if name == "window_pattern":
        return config.local_layers
    if name == "query_scale":
        return value or config.d_head**-0.5
    if name == "local_rope_theta" and config.sliding_window is not None and effect(config, "rope_scaling") is None:
        return value or config.rope_theta
    if name == "rope_theta" and config.position == "learned":
        return None
    if name == "rope_scaling":
        return None if value is None else _stretch(value)
    return value


def _stretch(scaling: RopeScaling) -> tuple[Any, ...] | None:
    """Returns the fields of a scaling that its kind reads; ``None`` where it scales nothing."""
    shared = (scaling.kind, scaling.factor)
    if scaling.kind == "linear":
        return None if scaling.factor == 1 else shared
    longer = (*shared, scaling.original_max_positions)
    if scaling.kind == "llama3":
        return (*longer, scaling.low_frequency_factor, scaling.high_frequency_factor)
    return (*longer, scaling.beta_fast, scaling.beta_slow, scaling.attention_factor, scaling.truncate)


def difference(theirs: ModelConfig, ours: ModelConfig, *, leave_out: Collection[str] = ()) -> Difference | None:
    """Finds the first field in which two models would compute different things from the same weights.

    Weights that were trained to see inputs in both directions need that again; those that were not may be trained to.

    Args:
        theirs: the model whose weights they are.
        ours: the model that is to take them.
        leave_out: fields that are not compared.
    """
    if type(theirs) is not type(ours):
        return Difference("kind", type(theirs).__name__, type(ours).__name__)
    for name in COMPARED[type(ours)]:
        if name in leave_out or (name == "prefix_lm" and not theirs.prefix_lm):  # type: ignore[union-attr]
            continue
        one, other = _compared(theirs, name), _compared(ours, name)
        if one != other:
            plain = getattr(theirs, name), getattr(ours, name)
            return Difference(name, *(plain if plain[0] != plain[1] else (one, other)))
    return None


def _compared(config: ModelConfig, name: str) -> Any:
    """Returns ``effect``, or ``None`` where the rest of a trained model does not read the field."""
    if isinstance(config, DecoderConfig):
        if name == "max_positions" and config.position != "learned":
            return None
        if name == "sliding_window" and not any(config.local_layers):
            return None
        if name in ("local_rope_theta", "window_pattern") and not any(config.local_layers):
            return None
        if name == "bos_id":
            return config.decoder_start_id if config.reads_start else None
    return effect(config, name)
