"""Gemma 4 12B: the layers of the others, without a vector for every layer, under names of its own."""

from typing import Any

from flan_jax.errors import UserError
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.mixed_config import MixedAttention
from flan_jax.models.huggingface.config_fields import FieldPart
from flan_jax.models.huggingface.decoder_families.gemma import GELU
from flan_jax.models.huggingface.decoder_families.gemma4 import DEFAULTS, LAYERS, ROPE, gemma4
from flan_jax.models.huggingface.decoder_families.gemma4 import FAMILY as OTHERS

_NO_FIELDS = ("hidden_size_per_layer_input", "vocab_size_per_layer_input", "enable_moe_block")


def _write_layers(config: DecoderConfig) -> dict[str, Any]:
    if config.mixed is not None and config.mixed.per_layer_width:
        raise UserError("A Gemma 4 of this kind has no vector for every layer, and this model has.")
    return {name: value for name, value in LAYERS.write(config).items() if name not in _NO_FIELDS}


FAMILY = OTHERS._replace(
    architecture="Gemma4UnifiedForCausalLM",
    defaults={
        **DEFAULTS, "hidden_size_per_layer_input": 0, "sliding_window": 1024, "max_position_embeddings": 262144,
    },
    parts=(GELU, ROPE, FieldPart(LAYERS.read, _write_layers)),
    wrapped={"gemma4_unified": "Gemma4UnifiedForConditionalGeneration"},
    towers=("model.vision_embedder.", "model.embed_vision.", "model.embed_audio."),
)  # fmt: skip
PRESETS = {
    "gemma4_12b": gemma4(
        3840, 48, 16, 8, 256, 15360, family="gemma4_unified_text", cycle=6, window=1024,
        mixed=MixedAttention(512, 1, keys_as_values=True),
    ),
}  # fmt: skip
