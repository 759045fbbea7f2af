"""Logical axes of a decoder's parameters; ``build.logical_axes`` says what the names mean."""

from typing import Any

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.protocol import Axes


def norm_axes(config: DecoderConfig, axes: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Returns the axes of a norm's parameters, each with these."""
    return dict.fromkeys(("scale", "bias") if config.norm == "layer" and config.norm_bias else ("scale",), axes)


def linear_axes(config: DecoderConfig) -> Axes:
    """Returns the axes of a stack of layers with a state in the place of attention."""
    into, of_heads = ("layers", "embed", "heads"), ("layers", "heads")
    mixer = {
        "norm": norm_axes(config, ("layers", "embed")),
        **dict.fromkeys(("qkv", "z", "b", "a"), into),
        "conv": ("layers", None, None, "heads"),
        "dt_bias": of_heads,
        "a_log": of_heads,
        "out_norm": ("layers", None),
        "o": ("layers", "heads", "embed"),
    }
    return {"layers": {"mixer": mixer, "mlp": layer_axes(config)["mlp"]}}


def layer_axes(config: DecoderConfig) -> Axes:
    """Returns the axes of a stack of layers: attention and feed-forward with the norms around them."""
    norm = norm_axes(config, ("layers", "embed"))
    norms = {
        **({"norm": norm} if config.norm_placement != "post" else {}),
        **({"post_norm": norm} if config.norm_placement != "pre" else {}),
    }
    into, out = ("layers", "embed", "heads"), ("layers", "heads", "embed")
    attention: dict[str, Any] = {**norms, "q": into, "k": into, "v": into, "o": out}
    if config.attention_bias:
        attention |= dict.fromkeys(("q_bias", "k_bias", "v_bias"), ("layers", "heads"))
    if config.output_bias:
        attention["o_bias"] = ("layers", "embed")
    if config.qk_norm:
        of_heads = {name: ("layers", "heads" if config.qk_norm == "full" else None) for name in norm}
        attention |= {"q_norm": of_heads, "k_norm": of_heads}
    ups = ("wi_0", "wi_1") if config.gated else ("wi",)
    mlp: dict[str, Any] = {
        **norms,
        **dict.fromkeys(ups, ("layers", "embed", "mlp")),
        "wo": ("layers", "mlp", "embed"),
    }
    if config.mlp_bias:
        mlp |= {**{f"{name}_bias": ("layers", "mlp") for name in ups}, "wo_bias": ("layers", "embed")}
    return {"attention": attention, "mlp": mlp}
