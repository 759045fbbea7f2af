"""OLMo 3: OLMo 2 with windows in three of four layers."""

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.config_fields import FieldPart
from flan_jax.models.huggingface.decoder_families.sizes import sized
from flan_jax.models.huggingface.family import SHARED, SILU, Family
from flan_jax.models.huggingface.rope_fields import rope_by_kind
from flan_jax.models.huggingface.tensor_names import POST_NORM_NAMES
from flan_jax.models.huggingface.window_fields import layer_types, read_windows
from flan_jax.models.ops.rope import RopeScaling

_WINDOWS = FieldPart(
    lambda given: read_windows(given, lambda layer: bool((layer + 1) % 4)),
    lambda config: {"sliding_window": config.sliding_window or 4096, "layer_types": layer_types(config)},
)
FAMILY = Family(
    "Olmo3ForCausalLM",
    names=POST_NORM_NAMES,
    defaults={**SHARED, "rms_norm_eps": 1e-5, "eos_token_id": 50279, "pad_token_id": 1, "sliding_window": 4096},
    fixed={"norm_placement": "post", "qk_norm": "full"},
    parts=(SILU, rope_by_kind(base=500_000.0), _WINDOWS),
)


def _olmo3(d_model: int, layers: int, heads: int, kv_heads: int, d_ff: int) -> DecoderConfig:
    """OLMo Team 2025, arXiv:2512.13961; positions of layers without the window are stretched."""
    scaling = RopeScaling("yarn", 8.0, original_max_positions=8192, attention_factor=1.2079441541679836)
    return sized(
        100278, d_model, layers, heads, kv_heads, 128, d_ff, family="olmo3", norm_placement="post", qk_norm="full",
        norm_epsilon=1e-6, rope_theta=500_000.0, local_rope_theta=500_000.0, rope_scaling=scaling, sliding_window=4096,
        window_pattern=(True, True, True, False), max_positions=65536, eos_id=100257, pad_id=100277,
    )  # fmt: skip


PRESETS = {"olmo3_7b": _olmo3(4096, 32, 32, 32, 11008), "olmo3_32b": _olmo3(5120, 64, 40, 8, 27648)}
