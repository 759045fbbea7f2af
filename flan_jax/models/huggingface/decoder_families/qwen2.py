"""Qwen 2 and 2.5."""

from typing import Any

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.decoder_families.sizes import sized
from flan_jax.models.huggingface.family import SHARED, SILU, Family
from flan_jax.models.huggingface.rope_fields import ROPE
from flan_jax.models.huggingface.window_fields import LATE_WINDOWS

QWEN_DEFAULTS = {**SHARED, "max_position_embeddings": 32768, "sliding_window": 4096}
FAMILY = Family(
    "Qwen2ForCausalLM", defaults=QWEN_DEFAULTS, fixed={"attention_bias": True}, parts=(SILU, ROPE, LATE_WINDOWS),
    has_attention_bias=False,
)  # fmt: skip


def qwen(d_model: int, layers: int, heads: int, kv_heads: int, d_ff: int, **rest: Any) -> DecoderConfig:
    """Creates a configuration with what all Qwen share."""
    return sized(
        rest.pop("vocab_size", 151936), d_model, layers, heads, kv_heads, rest.pop("d_head", d_model // heads), d_ff,
        norm_epsilon=1e-6, rope_theta=1_000_000.0, eos_id=151643, bos_id=151643, **rest,
    )  # fmt: skip


def _qwen2(*sizes: int, tied: bool, max_positions: int) -> DecoderConfig:
    """Qwen Team 2024, arXiv:2407.10671 and arXiv:2412.15115; sizes of 7B and more have a longer table."""
    return qwen(
        *sizes, family="qwen2", attention_bias=True, tie_embeddings=tied, max_positions=max_positions,
        vocab_size=151936 if tied else 152064,
    )  # fmt: skip


_QWEN2 = {
    "0_5b": (896, 24, 14, 2, 4864),
    "1_5b": (1536, 28, 12, 2, 8960),
    "3b": (2048, 36, 16, 2, 11008),
    "7b": (3584, 28, 28, 4, 18944),
    "14b": (5120, 48, 40, 8, 13824),
    "32b": (5120, 64, 40, 8, 27648),
    "72b": (8192, 80, 64, 8, 29568),
}
_QWEN2_TIED = ("0_5b", "1_5b", "3b")

PRESETS = {
    **{
        f"qwen2_{size}": _qwen2(*_QWEN2[size], tied=size in _QWEN2_TIED, max_positions=131072)
        for size in ("0_5b", "1_5b", "7b", "72b")
    },
    **{
        f"qwen2_5_{size}": _qwen2(*sizes, tied=(tied := size in _QWEN2_TIED), max_positions=32768 if tied else 131072)
        for size, sizes in _QWEN2.items()
    },
}
