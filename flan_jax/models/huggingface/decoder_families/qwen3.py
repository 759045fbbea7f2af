"""Qwen 3, dense."""

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.decoder_families.qwen2 import QWEN_DEFAULTS, qwen
from flan_jax.models.huggingface.family import SILU, Family
from flan_jax.models.huggingface.rope_fields import ROPE
from flan_jax.models.huggingface.window_fields import LATE_WINDOWS

FAMILY = Family(
    "Qwen3ForCausalLM",
    defaults={**QWEN_DEFAULTS, "head_dim": 128},
    fixed={"qk_norm": "head"},
    parts=(SILU, ROPE, LATE_WINDOWS),
)


def _qwen3(*sizes: int, tied: bool) -> DecoderConfig:
    """Qwen Team 2025, arXiv:2505.09388."""
    return qwen(*sizes, family="qwen3", d_head=128, qk_norm="head", tie_embeddings=tied, max_positions=40960)


PRESETS = {
    "qwen3_0_6b": _qwen3(1024, 28, 16, 8, 3072, tied=True),
    "qwen3_1_7b": _qwen3(2048, 28, 16, 8, 6144, tied=True),
    "qwen3_4b": _qwen3(2560, 36, 32, 8, 9728, tied=True),
    "qwen3_8b": _qwen3(4096, 36, 32, 8, 12288, tied=False),
    "qwen3_14b": _qwen3(5120, 40, 40, 8, 17408, tied=False),
    "qwen3_32b": _qwen3(5120, 64, 64, 8, 25600, tied=False),
}
