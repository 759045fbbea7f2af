"""Llama 2 to 3.2, and SmolLM2, whose files say that it is one."""

from typing import Any

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.decoder_families.sizes import sized
from flan_jax.models.huggingface.family import SHARED, SIZES, Family
from flan_jax.models.ops.rope import RopeScaling

LLAMA_DEFAULTS = {**SHARED, "bos_token_id": 1, "eos_token_id": 2, "mlp_bias": False}
FAMILY = Family(
    "LlamaForCausalLM", defaults=LLAMA_DEFAULTS, fields={**SIZES, "mlp_bias": "mlp_bias"}, ignored=("pretraining_tp",),
    needs_even_heads=True,
)  # fmt: skip


def _llama2(d_model: int, layers: int, heads: int, kv_heads: int, d_ff: int) -> DecoderConfig:
    """Touvron et al. 2023, arXiv:2307.09288."""
    return sized(32000, d_model, layers, heads, kv_heads, d_model // heads, d_ff, family="llama", eos_id=2, bos_id=1)


def _llama3(d_model: int, layers: int, heads: int, d_ff: int, factor: float = 0.0, **rest: Any) -> DecoderConfig:
    """Llama Team 2024, arXiv:2407.21783; with a factor, Llama 3.1 and later."""
    scaling = RopeScaling("llama3", factor, original_max_positions=8192) if factor else None
    return sized(
        128256, d_model, layers, heads, 8, d_model // heads, d_ff, family="llama", rope_theta=500_000.0,
        rope_scaling=scaling, max_positions=131072 if factor else 8192, eos_id=128001, bos_id=128000, **rest,
    )  # fmt: skip


def _smollm2(d_model: int, layers: int, heads: int, kv_heads: int, d_ff: int) -> DecoderConfig:
    """Ben Allal et al. 2025, arXiv:2502.02737."""
    return sized(
        49152, d_model, layers, heads, kv_heads, d_model // heads, d_ff, family="llama", rope_theta=100_000.0,
        max_positions=8192, tie_embeddings=True, eos_id=0, bos_id=0,
    )  # fmt: skip


PRESETS = {
    "smollm2_135m": _smollm2(576, 30, 9, 3, 1536),
    "llama2_7b": _llama2(4096, 32, 32, 32, 11008),
    "llama2_13b": _llama2(5120, 40, 40, 40, 13824),
    "llama2_70b": _llama2(8192, 80, 64, 8, 28672),
    "llama3_8b": _llama3(4096, 32, 32, 14336),
    "llama3_70b": _llama3(8192, 80, 64, 28672),
    "llama3_1_8b": _llama3(4096, 32, 32, 14336, 8.0),
    "llama3_1_70b": _llama3(8192, 80, 64, 28672, 8.0),
    "llama3_1_405b": _llama3(16384, 126, 128, 53248, 8.0),
    "llama3_2_1b": _llama3(2048, 16, 32, 8192, 32.0, tie_embeddings=True),
    "llama3_2_3b": _llama3(3072, 28, 24, 8192, 32.0, tie_embeddings=True),
}
