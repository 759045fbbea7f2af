"""OLMo 2."""

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.decoder_families.sizes import sized
from flan_jax.models.huggingface.family import SHARED, Family
from flan_jax.models.huggingface.tensor_names import POST_NORM_NAMES

FAMILY = Family(
    "Olmo2ForCausalLM",
    names=POST_NORM_NAMES,
    defaults={**SHARED, "rms_norm_eps": 1e-5, "eos_token_id": 50279, "pad_token_id": 1},
    fixed={"norm_placement": "post", "qk_norm": "full"},
)


def _olmo2(d_model: int, layers: int, heads: int, kv_heads: int, d_ff: int) -> DecoderConfig:
    """OLMo Team 2024, arXiv:2501.00656."""
    return sized(
        100352, d_model, layers, heads, kv_heads, 128, d_ff, family="olmo2", norm_placement="post", qk_norm="full",
        norm_epsilon=1e-6, rope_theta=500_000.0, eos_id=100257, pad_id=100277,
    )  # fmt: skip


PRESETS = {
    "olmo2_1b": _olmo2(2048, 16, 16, 16, 8192),
    "olmo2_7b": _olmo2(4096, 32, 32, 32, 11008),
    "olmo2_13b": _olmo2(5120, 40, 40, 40, 13824),
    "olmo2_32b": _olmo2(5120, 64, 40, 8, 27648),
}
