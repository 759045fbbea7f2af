"""Qwen 3.5, dense: the language model, in which three of four layers have a state in the place of attention."""

from typing import Any

from flan_jax.errors import UserError
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.linear_config import LinearAttention
from flan_jax.models.huggingface.config_fields import FieldPart, FieldReader
from flan_jax.models.huggingface.decoder_families.sizes import sized
from flan_jax.models.huggingface.family import SHARED, SILU, Family
from flan_jax.models.huggingface.tensor_names import LLAMA_NAMES

_LAYER = "model.layers.{0}."  # of layers with a state, which share some names with the others
_MIXER = "linear.layers.mixer."
_NAMES = {
    **LLAMA_NAMES,
    **{f"{_LAYER}linear_attn.in_proj_{x}.weight": f"{_MIXER}{x}" for x in ("qkv", "z", "b", "a")},
    _LAYER + "linear_attn.conv1d.weight": _MIXER + "conv",
    _LAYER + "linear_attn.dt_bias": _MIXER + "dt_bias",
    _LAYER + "linear_attn.A_log": _MIXER + "a_log",
    _LAYER + "linear_attn.norm.weight": _MIXER + "out_norm",
    _LAYER + "linear_attn.out_proj.weight": _MIXER + "o",
    _LAYER + "input_layernorm.weight": _MIXER + "norm.scale",
}
_SIZES = {
    "linear_num_key_heads": "key_heads",
    "linear_num_value_heads": "value_heads",
    "linear_key_head_dim": "d_key",
    "linear_value_head_dim": "d_value",
    "linear_conv_kernel_dim": "conv_width",
}
_STATE, _ATTENTION = "linear_attention", "full_attention"


def _types(layers: int, every: int) -> list[str]:
    return [_STATE if (layer + 1) % every else _ATTENTION for layer in range(layers)]


def _read_layers(given: FieldReader) -> dict[str, Any]:
    depth, types = given.required("num_hidden_layers"), given["layer_types"]
    every = given["full_attention_interval"]
    if types is not None:
        every = types.index(_ATTENTION) + 1 if _ATTENTION in types else 0
        if every < 2 or list(types) != _types(depth, every):
            raise UserError(
                "config.json: layer_types has to repeat one cycle of layers with linear_attention and a last one with "
                f"full_attention, and is {types!r}."
            )
    return {"linear": LinearAttention(**{ours: given[theirs] for theirs, ours in _SIZES.items()}, every=every)}


def _write_layers(config: DecoderConfig) -> dict[str, Any]:
    linear = config.linear
    if linear is None:
        raise UserError("A Qwen 3.5 has layers with linear_attention, and this model has none.")
    sizes = {theirs: getattr(linear, ours) for theirs, ours in _SIZES.items()}
    return {**sizes, "layer_types": _types(config.num_layers, linear.every), "full_attention_interval": linear.every}


def _read_positions(given: FieldReader) -> dict[str, Any]:
    """Reads the base and the share of a head; sections of a head for images are all the same position in text."""
    given["rope_scaling"]
    parameters = {**(given["rope_parameters"] or {}), **(given["rope_scaling"] or {})}
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if kind not in ("default", "mrope"):
        raise UserError(f"config.json: rotary positions of type {kind!r} are not read of a Qwen 3.5; 'default' is.")
    share = parameters.get("partial_rotary_factor", given["partial_rotary_factor"])
    return {"rope_theta": float(parameters.get("rope_theta", given["rope_theta"])), "rotary_fraction": float(share)}


def _write_positions(config: DecoderConfig) -> dict[str, Any]:
    parameters = {
        "rope_type": "default",
        "rope_theta": config.rope_theta,
        "partial_rotary_factor": config.rotary_fraction,
    }
    return {"rope_parameters": parameters, "partial_rotary_factor": config.rotary_fraction}


FAMILY = Family(
    "Qwen3_5ForCausalLM",
    names=_NAMES,
    defaults={
        **SHARED, "max_position_embeddings": 32768, "head_dim": 256, "rope_theta": 10_000.0, "partial_rotary_factor": 0.25,
        "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128, "linear_num_key_heads": 16,
        "linear_num_value_heads": 32, "full_attention_interval": 4,
    },
    fixed={"norm_offset": True, "qk_norm": "head", "gated_attention": True},
    parts=(SILU, FieldPart(_read_positions, _write_positions), FieldPart(_read_layers, _write_layers)),
    ignored=(
        "attn_output_gate", "mamba_ssm_dtype", "mtp_num_hidden_layers", "mtp_use_dedicated_embeddings", "mlp_only_layers",
        "base_config_key",
    ),
    wrapped={"qwen3_5": "Qwen3_5ForConditionalGeneration"},
)  # fmt: skip


def _qwen3_5(d_model: int, layers: int, heads: int, kv_heads: int, d_ff: int, value_heads: int) -> DecoderConfig:
    """Qwen Team 2026; the vision tower and the layer that predicts further tokens left out."""
    return sized(
        248320, d_model, layers, heads, kv_heads, 256, d_ff, family="qwen3_5_text", norm_offset=True, norm_epsilon=1e-6,
        qk_norm="head", gated_attention=True, rope_theta=10_000_000.0, rotary_fraction=0.25, max_positions=262144,
        linear=LinearAttention(16, value_heads, 128, 128), tie_embeddings=d_model < 4096, eos_id=248044, bos_id=None,
    )  # fmt: skip


PRESETS = {
    "qwen3_5_0_8b": _qwen3_5(1024, 24, 8, 2, 3584, 16),
    "qwen3_5_2b": _qwen3_5(2048, 24, 8, 2, 6144, 16),
    "qwen3_5_4b": _qwen3_5(2560, 32, 16, 4, 9216, 32),
    "qwen3_5_9b": _qwen3_5(4096, 32, 16, 4, 12288, 32),
    "qwen3_5_27b": _qwen3_5(5120, 64, 24, 4, 17408, 48),
}
