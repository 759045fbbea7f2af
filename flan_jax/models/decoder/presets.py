"""Published sizes of nine families of decoders, each as its base model."""

import dataclasses
from typing import Any

from flan_jax.errors import unknown
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.ops.rope import RopeScaling


def _sized(
    vocab_size: int, d_model: int, layers: int, heads: int, kv_heads: int, d_head: int, d_ff: int, **rest: Any
) -> DecoderConfig:
    return DecoderConfig(vocab_size, d_model, layers, heads, kv_heads, d_head, d_ff, **rest)


def _gpt2(d_model: int, layers: int, heads: int) -> DecoderConfig:
    """Radford et al. 2019, table 2."""
    return _sized(
        50257, d_model, layers, heads, heads, d_model // heads, 4 * d_model, family="gpt2", norm="layer",
        mlp_activation="gelu_tanh", attention_bias=True, output_bias=True, mlp_bias=True, position="learned",
        max_positions=1024, tie_embeddings=True, eos_id=50256, bos_id=50256,
    )  # fmt: skip


def _llama2(d_model: int, layers: int, heads: int, kv_heads: int, d_ff: int) -> DecoderConfig:
    """Touvron et al. 2023, arXiv:2307.09288."""
    return _sized(32000, d_model, layers, heads, kv_heads, d_model // heads, d_ff, family="llama", eos_id=2, bos_id=1)


def _llama3(d_model: int, layers: int, heads: int, d_ff: int, factor: float = 0.0, **rest: Any) -> DecoderConfig:
    """Llama Team 2024, arXiv:2407.21783; with a factor, Llama 3.1 and later."""
    scaling = RopeScaling("llama3", factor, original_max_positions=8192) if factor else None
    return _sized(
        128256, d_model, layers, heads, 8, d_model // heads, d_ff, family="llama", rope_theta=500_000.0,
        rope_scaling=scaling, max_positions=131072 if factor else 8192, eos_id=128001, bos_id=128000, **rest,
    )  # fmt: skip


def _mistral(**rest: Any) -> DecoderConfig:
    """Jiang et al. 2023, arXiv:2310.06825."""
    vocab_size = rest.pop("vocab_size", 32000)
    return _sized(
        vocab_size, 4096, 32, 32, 8, 128, 14336, family="mistral", max_positions=32768, eos_id=2, bos_id=1, **rest
    )


def _qwen(d_model: int, layers: int, heads: int, kv_heads: int, d_ff: int, **rest: Any) -> DecoderConfig:
    return _sized(
        rest.pop("vocab_size", 151936), d_model, layers, heads, kv_heads, rest.pop("d_head", d_model // heads), d_ff,
        norm_epsilon=1e-6, rope_theta=1_000_000.0, eos_id=151643, bos_id=151643, **rest,
    )  # fmt: skip


def _qwen2(*sizes: int, tied: bool, max_positions: int) -> DecoderConfig:
    """Qwen Team 2024, arXiv:2407.10671 and arXiv:2412.15115; sizes of 7B and more have a longer table."""
    return _qwen(
        *sizes, family="qwen2", attention_bias=True, tie_embeddings=tied, max_positions=max_positions,
        vocab_size=151936 if tied else 152064,
    )  # fmt: skip


def _qwen3(*sizes: int, tied: bool) -> DecoderConfig:
    """Qwen Team 2025, arXiv:2505.09388."""
    return _qwen(*sizes, family="qwen3", d_head=128, qk_norm="head", tie_embeddings=tied, max_positions=40960)


def _gemma(vocab_size: int, *sizes: int, **rest: Any) -> DecoderConfig:
    """Gemma Team 2024 and 2025, arXiv:2403.08295, arXiv:2408.00118, arXiv:2503.19786."""
    shared = {"norm_offset": True, "norm_epsilon": 1e-6, "mlp_activation": "gated-gelu_tanh", "embed_scale": True}
    return _sized(vocab_size, *sizes, tie_embeddings=True, eos_id=1, bos_id=2, **{**shared, **rest})  # type: ignore[arg-type]


def _gemma1(*sizes: int) -> DecoderConfig:
    return _gemma(256000, *sizes, family="gemma", max_positions=8192)


def _gemma2(*sizes: int, query_width: int = 256) -> DecoderConfig:
    return _gemma(
        256000, *sizes, family="gemma2", max_positions=8192, norm_placement="both", sliding_window=4096,
        window_pattern=(True, False), query_scale=query_width**-0.5, attention_softcap=50.0, logit_softcap=30.0,
    )  # fmt: skip


def _gemma3(vocab_size: int, *sizes: int, query_width: int = 256, window: int = 1024) -> DecoderConfig:
    small = window == 512  # 1B alone has a short context, whose positions are not stretched
    return _gemma(
        vocab_size, *sizes, family="gemma3_text", norm_placement="both", qk_norm="head", sliding_window=window,
        window_pattern=(*(True,) * 5, False), query_scale=query_width**-0.5, rope_theta=1_000_000.0,
        local_rope_theta=10_000.0, rope_scaling=None if small else RopeScaling("linear", 8.0),
        max_positions=32768 if small else 131072,
    )  # fmt: skip


def _olmo2(d_model: int, layers: int, heads: int, kv_heads: int, d_ff: int) -> DecoderConfig:
    """OLMo Team 2024, arXiv:2501.00656."""
    return _sized(
        100352, d_model, layers, heads, kv_heads, 128, d_ff, family="olmo2", norm_placement="post", qk_norm="full",
        norm_epsilon=1e-6, rope_theta=500_000.0, eos_id=100257, pad_id=100277,
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

PRESETS: dict[str, DecoderConfig] = {
    "gpt2_small": _gpt2(768, 12, 12),
    "gpt2_medium": _gpt2(1024, 24, 16),
    "gpt2_large": _gpt2(1280, 36, 20),
    "gpt2_xl": _gpt2(1600, 48, 25),
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
    "mistral_7b_v0_1": _mistral(sliding_window=4096),
    "mistral_7b_v0_2": _mistral(rope_theta=1_000_000.0),
    "mistral_7b_v0_3": _mistral(rope_theta=1_000_000.0, vocab_size=32768),
    **{
        f"qwen2_{size}": _qwen2(*_QWEN2[size], tied=size in _QWEN2_TIED, max_positions=131072)
        for size in ("0_5b", "1_5b", "7b", "72b")
    },
    **{
        f"qwen2_5_{size}": _qwen2(*sizes, tied=(tied := size in _QWEN2_TIED), max_positions=32768 if tied else 131072)
        for size, sizes in _QWEN2.items()
    },
    "qwen3_0_6b": _qwen3(1024, 28, 16, 8, 3072, tied=True),
    "qwen3_1_7b": _qwen3(2048, 28, 16, 8, 6144, tied=True),
    "qwen3_4b": _qwen3(2560, 36, 32, 8, 9728, tied=True),
    "qwen3_8b": _qwen3(4096, 36, 32, 8, 12288, tied=False),
    "qwen3_14b": _qwen3(5120, 40, 40, 8, 17408, tied=False),
    "qwen3_32b": _qwen3(5120, 64, 64, 8, 25600, tied=False),
    "gemma_2b": _gemma1(2048, 18, 8, 1, 256, 16384),
    "gemma_7b": _gemma1(3072, 28, 16, 16, 256, 24576),
    "gemma2_2b": _gemma2(2304, 26, 8, 4, 256, 9216),
    "gemma2_9b": _gemma2(3584, 42, 16, 8, 256, 14336),
    "gemma2_27b": _gemma2(4608, 46, 32, 16, 128, 36864, query_width=144),
    "gemma3_1b": _gemma3(262144, 1152, 26, 4, 1, 256, 6912, window=512),
    "gemma3_4b": _gemma3(262208, 2560, 34, 8, 4, 256, 10240),
    "gemma3_12b": _gemma3(262208, 3840, 48, 16, 8, 256, 15360),
    "gemma3_27b": _gemma3(262208, 5376, 62, 32, 16, 128, 21504, query_width=168),
    "olmo2_1b": _olmo2(2048, 16, 16, 16, 8192),
    "olmo2_7b": _olmo2(4096, 32, 32, 32, 11008),
    "olmo2_13b": _olmo2(5120, 40, 40, 40, 13824),
    "olmo2_32b": _olmo2(5120, 64, 40, 8, 27648),
}


def preset(name: str, **changes: Any) -> DecoderConfig:
    """Returns a published size such as ``llama3_2_1b``, with the fields in ``changes`` replaced.

    Raises:
        UserError: unknown name; the message suggests near ones.
    """
    if name not in PRESETS:
        raise unknown("model preset", name, PRESETS)
    return dataclasses.replace(PRESETS[name], **changes)
