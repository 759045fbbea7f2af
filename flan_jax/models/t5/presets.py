"""Published sizes of T5, mT5, ByT5 and FLAN-T5."""

import dataclasses

from flan_jax.errors import unknown
from flan_jax.models.t5.config import T5Config


def _v1_1(d_model: int, num_heads: int, d_ff: int, layers: int) -> T5Config:
    return T5Config(
        vocab_size=32128,
        d_model=d_model,
        d_kv=64,
        num_heads=num_heads,
        d_ff=d_ff,
        num_encoder_layers=layers,
        num_decoder_layers=layers,
    )


def _v1_0(d_model: int, d_kv: int, num_heads: int, d_ff: int, layers: int) -> T5Config:
    sizes = _v1_1(d_model, num_heads, d_ff, layers)
    return dataclasses.replace(sizes, d_kv=d_kv, mlp_activation="relu", tie_embeddings=True)


def _mt5(sizes: T5Config) -> T5Config:
    return dataclasses.replace(sizes, vocab_size=250112)


def _byt5(d_model: int, num_heads: int, d_ff: int, encoder: int, decoder: int) -> T5Config:
    sizes = _v1_1(d_model, num_heads, d_ff, encoder)
    return dataclasses.replace(sizes, vocab_size=384, num_decoder_layers=decoder)


_V1_1 = {
    "small": _v1_1(512, 6, 1024, 8),
    "base": _v1_1(768, 12, 2048, 12),
    "large": _v1_1(1024, 16, 2816, 24),
    "xl": _v1_1(2048, 32, 5120, 24),
    "xxl": _v1_1(4096, 64, 10240, 24),
}
# The published sizes: T5 1.0 and 1.1 (Raffel et al. 2020, section 3.7); those that were trained on from 1.1 share its
# sizes: LM-adapted T5 (Lester et al. 2021) and FLAN-T5 (Chung et al. 2022); mT5 has a larger vocabulary (Xue et al.
# 2021), ByT5 one of bytes and deeper encoders (Xue et al. 2022, table 1).
PRESETS: dict[str, T5Config] = {
    **{f"t5_1_1_{size}": config for size, config in _V1_1.items()},
    **{f"t5_1_1_lm100k_{size}": config for size, config in _V1_1.items()},
    **{f"flan_t5_{size}": config for size, config in _V1_1.items()},
    **{f"mt5_{size}": _mt5(config) for size, config in _V1_1.items()},
    "byt5_small": _byt5(1472, 6, 3584, 12, 4),
    "byt5_base": _byt5(1536, 12, 3968, 18, 6),
    "byt5_large": _byt5(1536, 16, 3840, 36, 12),
    "byt5_xl": _byt5(2560, 32, 6720, 36, 12),
    "byt5_xxl": _byt5(4672, 64, 12352, 36, 12),
    "t5_small": _v1_0(512, 64, 8, 2048, 6),
    "t5_base": _v1_0(768, 64, 12, 3072, 12),
    "t5_large": _v1_0(1024, 64, 16, 4096, 24),
    "t5_3b": _v1_0(1024, 128, 32, 16384, 24),
    "t5_11b": _v1_0(1024, 128, 128, 65536, 24),
}


def preset(name: str) -> T5Config:
    """Returns a published size such as ``t5_1_1_small``.

    Raises:
        UserError: unknown name; the message suggests near ones.
    """
    if name not in PRESETS:
        raise unknown("model preset", name, PRESETS)
    return PRESETS[name]
