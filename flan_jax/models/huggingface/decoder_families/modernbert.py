"""Decoders of ModernBERT's layers: Ettin, from 17 million parameters to a billion."""

import dataclasses
from typing import Any

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.config_fields import FieldPart, FieldReader, activation
from flan_jax.models.huggingface.decoder_families.sizes import sized
from flan_jax.models.huggingface.family import Family
from flan_jax.models.huggingface.rope_fields import rope_by_kind
from flan_jax.models.huggingface.window_fields import layer_types, read_windows


def _named(theirs: str, ours: str) -> dict[str, str]:
    """A projection's kernel and bias, or a norm's scale and bias."""
    leaves = {"weight": ".scale", "bias": ".bias"} if ours.endswith("norm") else {"weight": "", "bias": "_bias"}
    return {f"{theirs}.{kind}": " ".join(part + leaf for part in ours.split()) for kind, leaf in leaves.items()}


_LAYER = "model.layers.{}."
_NAMES = {
    "model.embeddings.tok_embeddings.weight": "embedding",
    **_named("model.embeddings.norm", "embed_norm"),
    **_named(_LAYER + "attn_norm", "layers.attention.norm"),
    **{name: ours for x in "qkv" for name, ours in _named(f"{_LAYER}attn.{x}_proj", f"layers.attention.{x}").items()},
    **_named(_LAYER + "attn.Wo", "layers.attention.o"),
    **_named(_LAYER + "mlp_norm", "layers.mlp.norm"),
    **_named(_LAYER + "mlp.Wi", "layers.mlp.wi_0 layers.mlp.wi_1"),
    **_named(_LAYER + "mlp.Wo", "layers.mlp.wo"),
    **_named("model.final_norm", "norm"),
    "lm_head.dense.weight": "head_dense",
    **_named("lm_head.norm", "head_norm"),
    "decoder.weight": "lm_head",
    "decoder.bias": "logit_bias",
}


def _read_windows(given: FieldReader) -> dict[str, Any]:
    every, both_sides = given["global_attn_every_n_layers"] or 3, given["local_attention"]
    given.get("sliding_window")  # follows from the other: the half of it that lies behind a token
    read = read_windows(given, lambda layer: layer % every != 0)
    if "window_pattern" not in read:
        return read
    return {**read, "sliding_window": both_sides // 2}


def _write_windows(config: DecoderConfig) -> dict[str, Any]:
    return {"local_attention": 2 * (config.sliding_window or 64), "layer_types": layer_types(config)}


def _read_head(given: FieldReader) -> dict[str, Any]:
    return {"head_activation": _HEAD.read(given)["mlp_activation"]}


def _write_head(config: DecoderConfig) -> dict[str, Any]:
    if config.head_activation == "gelu_tanh":
        return {"classifier_activation": "gelu_pytorch_tanh"}
    return _HEAD.write(dataclasses.replace(config, mlp_activation=config.head_activation or "gelu"))


_HEAD = activation("classifier_activation", gated=False)
FAMILY = Family(
    "ModernBertDecoderForCausalLM",
    names=_NAMES,
    defaults={
        "vocab_size": 50368, "norm_eps": 1e-5, "norm_bias": False, "mlp_bias": False, "decoder_bias": True,
        "max_position_embeddings": 8192, "tie_word_embeddings": True, "hidden_activation": "gelu", "attention_bias": False,
        "classifier_activation": "gelu", "local_attention": 128, "sliding_window": 64, "pad_token_id": 50283,
        "eos_token_id": 50282, "bos_token_id": 50281,
    },
    fixed={"norm": "layer", "embed_norm": True, "first_norm": False},
    fields={
        "vocab_size": "vocab_size",
        "hidden_size": "d_model",
        "num_hidden_layers": "num_layers",
        "num_attention_heads": "num_heads",
        "intermediate_size": "d_ff",
        "norm_eps": "norm_epsilon",
        "norm_bias": "norm_bias",
        "mlp_bias": "mlp_bias",
        "decoder_bias": "logit_bias",
        "max_position_embeddings": "max_positions",
        "tie_word_embeddings": "tie_embeddings",
    },
    parts=(
        activation("hidden_activation"),
        FieldPart(_read_head, _write_head),
        rope_by_kind("global_rope_theta", "local_rope_theta", base=160_000.0, local_base=10_000.0),
        FieldPart(_read_windows, _write_windows),
    ),
    ignored=(
        "cls_token_id", "sep_token_id", "initializer_cutoff_factor", "classifier_dropout", "classifier_pooling",
        "deterministic_flash_attn", "reference_compile", "repad_logits_with_grad", "sparse_prediction",
        "sparse_pred_ignore_index", "gradient_checkpointing", "layer_norm_eps", "position_embedding_type",
    ),
    dropouts=("embedding_dropout", "mlp_dropout"),
    absent=("model.layers.0.attn_norm.weight", "model.layers.0.attn_norm.bias"),
)  # fmt: skip


def _ettin(d_model: int, layers: int, heads: int, d_ff: int) -> DecoderConfig:
    """Weller et al. 2025, arXiv:2507.11412, table 1."""
    return sized(
        50368, d_model, layers, heads, heads, d_model // heads, d_ff, family="modernbert-decoder", norm="layer",
        norm_bias=False, embed_norm=True, first_norm=False, head_activation="gelu", logit_bias=True,
        mlp_activation="gated-gelu", sliding_window=64, window_pattern=(False, True, True), rope_theta=160_000.0,
        local_rope_theta=160_000.0, max_positions=7999, tie_embeddings=True, eos_id=50282, bos_id=50281, pad_id=50283,
    )  # fmt: skip


PRESETS = {
    "ettin_17m": _ettin(256, 7, 4, 384),
    "ettin_32m": _ettin(384, 10, 6, 576),
    "ettin_68m": _ettin(512, 19, 8, 768),
    "ettin_150m": _ettin(768, 22, 12, 1152),
    "ettin_400m": _ettin(1024, 28, 16, 2624),
    "ettin_1b": _ettin(1792, 28, 28, 3840),
}
