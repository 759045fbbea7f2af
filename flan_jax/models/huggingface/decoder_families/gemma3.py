"""Gemma 3: the language model, also of those with a vision tower."""

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.decoder_families.gemma import GELU, GEMMA, LATER_DEFAULTS, gemma
from flan_jax.models.huggingface.family import SIZES, Family
from flan_jax.models.huggingface.rope_fields import ROPE_BY_KIND
from flan_jax.models.huggingface.tensor_names import POST_NORM_NAMES
from flan_jax.models.huggingface.window_fields import FIVE_OF_SIX_WINDOWS
from flan_jax.models.ops.rope import RopeScaling

FAMILY = Family(
        "Gemma3ForCausalLM",
        names=POST_NORM_NAMES,
        defaults={
            **LATER_DEFAULTS, "vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4,
            "max_position_embeddings": 131072,
        },
        fixed={**GEMMA, "norm_placement": "both", "qk_norm": "head"},
        fields={**SIZES, "final_logit_softcapping": "logit_softcap"},
        parts=(GELU, ROPE_BY_KIND, FIVE_OF_SIX_WINDOWS),
        has_query_width=True,
        ignored=("hidden_act",),
        wrapped={"gemma3": "Gemma3ForConditionalGeneration"},
        needs_even_heads=True,
    )  # fmt: skip


def _gemma3(vocab_size: int, *sizes: int, query_width: int = 256, window: int = 1024) -> DecoderConfig:
    small = window == 512  # 1B alone has a short context, whose positions are not stretched
    return gemma(
        vocab_size, *sizes, family="gemma3_text", norm_placement="both", qk_norm="head", sliding_window=window,
        window_pattern=(*(True,) * 5, False), query_scale=query_width**-0.5, rope_theta=1_000_000.0,
        local_rope_theta=10_000.0, rope_scaling=None if small else RopeScaling("linear", 8.0),
        max_positions=32768 if small else 131072,
    )  # fmt: skip


PRESETS = {
    "gemma3_1b": _gemma3(262144, 1152, 26, 4, 1, 256, 6912, window=512),
    "gemma3_4b": _gemma3(262208, 2560, 34, 8, 4, 256, 10240),
    "gemma3_12b": _gemma3(262208, 3840, 48, 16, 8, 256, 15360),
    "gemma3_27b": _gemma3(262208, 5376, 62, 32, 16, 128, 21504, query_width=168),
}
