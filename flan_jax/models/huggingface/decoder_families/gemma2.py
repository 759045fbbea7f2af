"""Gemma 2."""

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.decoder_families.gemma import GELU, GEMMA, LATER_DEFAULTS, gemma
from flan_jax.models.huggingface.family import SIZES, Family
from flan_jax.models.huggingface.rope_fields import ROPE
from flan_jax.models.huggingface.tensor_names import POST_NORM_NAMES
from flan_jax.models.huggingface.window_fields import ALTERNATE_WINDOWS

FAMILY = Family(
    "Gemma2ForCausalLM",
    names=POST_NORM_NAMES,
    defaults={**LATER_DEFAULTS, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
    fixed={**GEMMA, "norm_placement": "both"},
    fields={**SIZES, "attn_logit_softcapping": "attention_softcap", "final_logit_softcapping": "logit_softcap"},
    parts=(GELU, ROPE, ALTERNATE_WINDOWS),
    has_query_width=True,
    ignored=("hidden_act",),
    needs_even_heads=True,
)


def _gemma2(*sizes: int, query_width: int = 256) -> DecoderConfig:
    return gemma(
        256000, *sizes, family="gemma2", max_positions=8192, norm_placement="both", sliding_window=4096,
        window_pattern=(True, False), query_scale=query_width**-0.5, attention_softcap=50.0, logit_softcap=30.0,
    )  # fmt: skip


PRESETS = {
    "gemma2_2b": _gemma2(2304, 26, 8, 4, 256, 9216),
    "gemma2_9b": _gemma2(3584, 42, 16, 8, 256, 14336),
    "gemma2_27b": _gemma2(4608, 46, 32, 16, 128, 36864, query_width=144),
}
