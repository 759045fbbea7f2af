"""Gemma 4, dense: layers with two sizes of heads, of which the last share keys and values, and a vector for every layer."""

from typing import Any

from flan_jax.errors import UserError
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.mixed_config import MixedAttention
from flan_jax.models.huggingface.config_fields import FieldPart, FieldReader
from flan_jax.models.huggingface.decoder_families.gemma import GELU, gemma
from flan_jax.models.huggingface.family import SIZES, Family
from flan_jax.models.huggingface.rope_fields import rope_by_kind
from flan_jax.models.huggingface.tensor_names import POST_NORM_NAMES
from flan_jax.models.huggingface.window_fields import layer_types, read_windows
from flan_jax.models.ops.rope import RopeScaling

_LAYER = "model.layers.{}."
NAMES = {
    **{name: ours for name, ours in POST_NORM_NAMES.items() if name != "lm_head.weight"},
    _LAYER + "layer_scalar": "layers.scalar",
    _LAYER + "per_layer_input_gate.weight": "layers.per_layer.gate",
    _LAYER + "per_layer_projection.weight": "layers.per_layer.projection",
    _LAYER + "post_per_layer_input_norm.weight": "layers.per_layer.post_norm.scale",
    "model.embed_tokens_per_layer.weight": "per_layer.table",
    "model.per_layer_model_projection.weight": "per_layer.projection",
    "model.per_layer_projection_norm.weight": "per_layer.norm.scale",
    "lm_head.weight": "lm_head",
}
DEFAULTS = {
    "vocab_size": 262144, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 30, "num_attention_heads": 8,
    "num_key_value_heads": 4, "head_dim": 256, "rms_norm_eps": 1e-6, "tie_word_embeddings": True, "sliding_window": 512,
    "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 131072, "pad_token_id": 0, "bos_token_id": 2,
    "eos_token_id": 1, "global_head_dim": 512, "vocab_size_per_layer_input": 262144, "hidden_size_per_layer_input": 256,
    "num_kv_shared_layers": 0, "rope_parameters": {
        "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1_000_000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    },
}  # fmt: skip
_ROPE = rope_by_kind(base=1_000_000.0, local_base=10_000.0)
ROPE = FieldPart(_ROPE.read, lambda config: {"rope_parameters": _ROPE.write(config)["rope_parameters"]})
CYCLE = "layers with sliding_attention and a last one with full_attention"


def _read_layers(given: FieldReader) -> dict[str, Any]:
    """Reads which layers have the window, and the sizes of the others."""
    if given["enable_moe_block"]:
        raise UserError(
            "config.json: enable_moe_block is true, and a Gemma 4 with experts (26B-A4B) is not read; the dense ones are (E2B, "
            "E4B, 12B, 31B)."
        )
    if given["use_bidirectional_attention"] not in (None, "vision"):  # of images, and this is the text alone
        raise UserError(
            f"config.json: use_bidirectional_attention is {given['use_bidirectional_attention']!r}, and a model that reads text in "
            "both directions is not read as a decoder."
        )
    windows = read_windows(given, lambda layer: bool((layer + 1) % 6))
    pattern, shared = windows.get("window_pattern", ()), given["num_kv_shared_layers"]
    if (
        len(pattern) < 2
        or pattern != (*(True,) * (len(pattern) - 1), False)
        or given["num_hidden_layers"] % len(pattern)
    ):
        raise UserError(
            f"config.json: layer_types has to repeat one cycle of {CYCLE}, and is {given['layer_types']!r}."
        )
    if shared % len(pattern):
        raise UserError(
            f"config.json: num_kv_shared_layers is {shared}; the layers that share keys and values have to be whole cycles of "
            f"{CYCLE}, which are {len(pattern)} long."
        )
    width = given["hidden_size_per_layer_input"] or 0
    if given["vocab_size_per_layer_input"] != given["vocab_size"] and width:
        raise UserError(
            f"config.json: vocab_size_per_layer_input is {given['vocab_size_per_layer_input']} and vocab_size "
            f"{given['vocab_size']}; tables of different tokens are not read."
        )
    wide = shared and given["use_double_wide_mlp"]
    d_head, kv_heads = _full_sizes(given, windows["window_pattern"])
    mixed = MixedAttention(
        d_head=d_head, num_kv_heads=kv_heads, keys_as_values=bool(given["attention_k_eq_v"]), shared=shared,
        shared_d_ff=2 * given["intermediate_size"] if wide else None, per_layer_width=width,
    )  # fmt: skip
    return {**windows, "mixed": mixed}


def _full_sizes(given: FieldReader, pattern: tuple[bool, ...]) -> tuple[int, int]:
    """Returns the width and the number of the key heads in layers without the window.

    Published files say it of all such layers; transformers writes it again layer by layer.
    """
    d_head, kv_heads = given["global_head_dim"], given["num_global_key_value_heads"]
    if not given["attention_k_eq_v"] or kv_heads is None:
        kv_heads = given["num_key_value_heads"]
    by_layer = given.get("per_layer_config")
    if by_layer is None:
        return d_head, kv_heads
    depth, own = given["num_hidden_layers"], (given["head_dim"], given["num_key_value_heads"])
    said = {int(layer): {**sizes} for layer, sizes in by_layer.items()}
    found = {
        layer: (said.get(layer, {}).pop("head_dim", own[0]), said.get(layer, {}).pop("num_key_value_heads", own[1]))
        for layer in range(depth)
    }
    full = {sizes for layer, sizes in found.items() if not pattern[layer % len(pattern)]}
    near = {sizes for layer, sizes in found.items() if pattern[layer % len(pattern)]}
    if len(full) > 1 or near != {own} or any(said.values()):
        raise UserError(
            f"config.json: per_layer_config is {by_layer!r}; head_dim and num_key_value_heads are read of it, the same of all "
            "layers with full_attention and of no others."
        )
    return full.pop()


def write_layers(config: DecoderConfig) -> dict[str, Any]:
    """Writes them as published files have them."""
    mixed = config.mixed
    if mixed is None:
        raise UserError("A Gemma 4 has layers with two sizes of heads, and this model has none.")
    return {
        "sliding_window": config.sliding_window, "layer_types": layer_types(config), "global_head_dim": mixed.d_head,
        "num_global_key_value_heads": mixed.num_kv_heads if mixed.keys_as_values else None,
        "attention_k_eq_v": mixed.keys_as_values, "num_kv_shared_layers": mixed.shared,
        "use_double_wide_mlp": mixed.shared_d_ff is not None, "hidden_size_per_layer_input": mixed.per_layer_width,
        "vocab_size_per_layer_input": config.vocab_size, "enable_moe_block": False,
    }  # fmt: skip


LAYERS = FieldPart(_read_layers, write_layers)
FAMILY = Family(
    "Gemma4ForCausalLM",
    names=NAMES,
    defaults=DEFAULTS,
    fixed={"norm_placement": "both", "qk_norm": "head", "embed_scale": True, "query_scale": 1.0},
    fields={**SIZES, "final_logit_softcapping": "logit_softcap"},
    parts=(GELU, ROPE, LAYERS),
    has_attention_bias=False,
    ignored=("num_experts", "top_k_experts", "moe_intermediate_size"),
    wrapped={"gemma4": "Gemma4ForConditionalGeneration"},
    towers=("model.vision_tower.", "model.audio_tower.", "model.embed_vision.", "model.embed_audio."),
)


def gemma4(*sizes: int, family: str, cycle: int, window: int, mixed: MixedAttention) -> DecoderConfig:
    """Gemma Team 2026; the towers for images and sound left out."""
    return gemma(
        262144, *sizes, family=family, norm_offset=False, norm_placement="both", qk_norm="head", query_scale=1.0,
        sliding_window=window, window_pattern=(*(True,) * (cycle - 1), False), rope_theta=1_000_000.0,
        local_rope_theta=10_000.0, rope_scaling=RopeScaling("proportional", 1.0, share=0.25), logit_softcap=30.0,
        max_positions=131072 if window == 512 else 262144, mixed=mixed,
    )  # fmt: skip


_E2B = MixedAttention(512, 1, shared=20, shared_d_ff=12288, per_layer_width=256)
_E4B = MixedAttention(512, 2, shared=18, per_layer_width=256)
_31B = MixedAttention(512, 4, keys_as_values=True)
PRESETS = {
    "gemma4_e2b": gemma4(1536, 35, 8, 1, 256, 6144, family="gemma4_text", cycle=5, window=512, mixed=_E2B),
    "gemma4_e4b": gemma4(2560, 42, 8, 2, 256, 10240, family="gemma4_text", cycle=6, window=512, mixed=_E4B),
    "gemma4_31b": gemma4(5376, 60, 32, 16, 256, 21504, family="gemma4_text", cycle=6, window=1024, mixed=_31B),
}
