"""Gemma 1, and what later ones share with it."""

from typing import Any

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.config_fields import activation
from flan_jax.models.huggingface.decoder_families.sizes import sized
from flan_jax.models.huggingface.family import SHARED, Family
from flan_jax.models.huggingface.rope_fields import ROPE

GELU = activation("hidden_activation")
GEMMA = {"norm_offset": True, "embed_scale": True}
GEMMA_DEFAULTS = {
    **SHARED, "head_dim": 256, "tie_word_embeddings": True, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1,
    "max_position_embeddings": 8192,
}  # fmt: skip
LATER_DEFAULTS = {
    **GEMMA_DEFAULTS, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 256, "sliding_window": 4096
}  # fmt: skip

FAMILY = Family(
    "GemmaForCausalLM",
    defaults={**GEMMA_DEFAULTS, "hidden_act": "gelu_pytorch_tanh"},
    fixed=GEMMA,
    parts=(activation("hidden_act", gelu_is_tanh=True), ROPE),
)


def gemma(vocab_size: int, *sizes: int, **rest: Any) -> DecoderConfig:
    """Gemma Team 2024 and 2025, arXiv:2403.08295, arXiv:2408.00118, arXiv:2503.19786."""
    shared = {"norm_offset": True, "norm_epsilon": 1e-6, "mlp_activation": "gated-gelu_tanh", "embed_scale": True}
    return sized(vocab_size, *sizes, tie_embeddings=True, eos_id=1, bos_id=2, **{**shared, **rest})  # type: ignore[arg-type]


def _gemma1(*sizes: int) -> DecoderConfig:
    return gemma(256000, *sizes, family="gemma", max_positions=8192)


PRESETS = {
    "gemma_2b": _gemma1(2048, 18, 8, 1, 256, 16384),
    "gemma_7b": _gemma1(3072, 28, 16, 16, 256, 24576),
}
