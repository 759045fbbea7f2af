"""Mistral 7B."""

from typing import Any

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.decoder_families.llama import LLAMA_DEFAULTS
from flan_jax.models.huggingface.decoder_families.sizes import sized
from flan_jax.models.huggingface.family import SILU, Family
from flan_jax.models.huggingface.rope_fields import ROPE
from flan_jax.models.huggingface.window_fields import EVERY_WINDOW

FAMILY = Family(
    "MistralForCausalLM",
    defaults={**LLAMA_DEFAULTS, "num_key_value_heads": 8, "max_position_embeddings": 131072, "sliding_window": 4096},
    parts=(SILU, ROPE, EVERY_WINDOW),
    has_attention_bias=False,
)


def _mistral(**rest: Any) -> DecoderConfig:
    """Jiang et al. 2023, arXiv:2310.06825."""
    vocab_size = rest.pop("vocab_size", 32000)
    return sized(
        vocab_size, 4096, 32, 32, 8, 128, 14336, family="mistral", max_positions=32768, eos_id=2, bos_id=1, **rest
    )


PRESETS = {
    "mistral_7b_v0_1": _mistral(sliding_window=4096),
    "mistral_7b_v0_2": _mistral(rope_theta=1_000_000.0),
    "mistral_7b_v0_3": _mistral(rope_theta=1_000_000.0, vocab_size=32768),
}
