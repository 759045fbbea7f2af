"""Published sizes of T5Gemma 1 and 2."""

import dataclasses
from typing import Any

from flan_jax.errors import unknown
from flan_jax.models.ops.rope import RopeScaling
from flan_jax.models.t5gemma.config import T5GemmaConfig

# d_model, layers, query heads, key heads, width of a head, feed-forward width
_GEMMA2 = {
    "s": (512, 8, 8, 8, 64, 1024),
    "b": (768, 12, 12, 12, 64, 2048),
    "l": (1024, 24, 16, 16, 64, 2816),
    "ml": (1152, 26, 4, 4, 256, 6912),
    "xl": (2048, 24, 32, 32, 64, 5120),
    "2b": (2304, 26, 8, 4, 256, 9216),
    "9b": (3584, 42, 16, 8, 256, 14336),
}
_GEMMA3 = {"270m": (640, 18, 4, 1, 256, 2048), "1b": (1152, 26, 4, 1, 256, 6912), "4b": (2560, 34, 8, 4, 256, 10240)}


def _t5gemma1(encoder: str, decoder: str) -> T5GemmaConfig:
    """Zhang et al. 2025, arXiv:2504.06225: layers of Gemma 2."""
    d_model, layers, heads, kv_heads, d_head, d_ff = _GEMMA2[decoder]
    own: dict[str, Any] = {}
    if encoder != decoder:
        names = ("d_model", "num_heads", "num_kv_heads", "d_head", "d_ff")
        sides = ((width, *rest) for width, _, *rest in (_GEMMA2[encoder], _GEMMA2[decoder]))
        own = {f"encoder_{name}": a for name, a, b in zip(names, *sides, strict=True) if a != b}
    return T5GemmaConfig(
        256000, d_model, _GEMMA2[encoder][1], layers, heads, kv_heads, d_head, d_ff, **own, attention_softcap=50.0,
        logit_softcap=30.0,
    )  # fmt: skip


def _t5gemma2(size: str, window: int) -> T5GemmaConfig:
    """Zhang et al. 2025, arXiv:2512.14856: layers of Gemma 3, without the vision tower."""
    d_model, layers, heads, kv_heads, d_head, d_ff = _GEMMA3[size]
    return T5GemmaConfig(
        262144, d_model, layers, layers, heads, kv_heads, d_head, d_ff, merged_attention=True, shared_embedding=True,
        halved_window=True, qk_norm="head", eoi_id=256000, rope_theta=1_000_000.0, local_rope_theta=10_000.0,
        rope_scaling=RopeScaling("linear", 8.0), max_positions=131072, sliding_window=window,
        window_pattern=(*(True,) * 5, False),
    )  # fmt: skip


PRESETS: dict[str, T5GemmaConfig] = {
    **{f"t5gemma_{size}_{size}": _t5gemma1(size, size) for size in _GEMMA2},
    "t5gemma_9b_2b": _t5gemma1("9b", "2b"),
    **{f"t5gemma2_{size}_{size}": _t5gemma2(size, 1024 if size == "4b" else 512) for size in _GEMMA3},
}


def preset(name: str, **changes: Any) -> T5GemmaConfig:
    """Returns a published size such as ``t5gemma_2b_2b``, with the fields in ``changes`` replaced.

    Raises:
        UserError: unknown name; the message suggests near ones.
    """
    if name not in PRESETS:
        raise unknown("model preset", name, PRESETS)
    return dataclasses.replace(PRESETS[name], **changes)
