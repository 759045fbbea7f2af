"""GPT-2."""

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.config_fields import GPT2_SCALE, activation
from flan_jax.models.huggingface.decoder_families.sizes import sized
from flan_jax.models.huggingface.family import Family
from flan_jax.models.huggingface.tensor_names import GPT2_NAMES

_SIZES = {
    "vocab_size": "vocab_size",
    "n_embd": "d_model",
    "n_layer": "num_layers",
    "n_head": "num_heads",
    "n_inner": "d_ff",
    "layer_norm_epsilon": "norm_epsilon",
    "n_positions": "max_positions",
    "tie_word_embeddings": "tie_embeddings",
    "resid_pdrop": "dropout_rate",
}
FAMILY = Family(
        "GPT2LMHeadModel",
        names=GPT2_NAMES,
        defaults={
            "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True, "n_positions": 1024, "resid_pdrop": 0.1,
            "bos_token_id": 50256, "eos_token_id": 50256, "activation_function": "gelu_new", "scale_attn_weights": True,
        },
        fixed={"norm": "layer", "position": "learned", "attention_bias": True, "output_bias": True, "mlp_bias": True},
        fields=_SIZES,
        parts=(activation("activation_function", gated=False), GPT2_SCALE),
        has_attention_bias=False,
        transposed=False,
        ignored=("n_ctx", "reorder_and_upcast_attn"),
        optional=("d_ff",),
        dropouts=("embd_pdrop", "attn_pdrop"),
        base="transformer.",
    )  # fmt: skip


def _gpt2(d_model: int, layers: int, heads: int) -> DecoderConfig:
    """Radford et al. 2019, table 2."""
    return sized(
        50257, d_model, layers, heads, heads, d_model // heads, 4 * d_model, family="gpt2", norm="layer",
        mlp_activation="gelu_tanh", attention_bias=True, output_bias=True, mlp_bias=True, position="learned",
        max_positions=1024, tie_embeddings=True, eos_id=50256, bos_id=50256,
    )  # fmt: skip


PRESETS = {
    "gpt2_small": _gpt2(768, 12, 12),
    "gpt2_medium": _gpt2(1024, 24, 16),
    "gpt2_large": _gpt2(1280, 36, 20),
    "gpt2_xl": _gpt2(1600, 48, 25),
}
