"""Logical axes of a decoder's parameters; ``build.logical_axes`` says what the names mean."""

from typing import Any

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.mixed_config import MixedAttention, layer_numbers
from flan_jax.models.protocol import Axes


def norm_axes(config: DecoderConfig, axes: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Returns the axes of a norm's parameters, each with these."""
    return dict.fromkeys(("scale", "bias") if config.norm == "layer" and config.norm_bias else ("scale",), axes)


def decoder_axes(config: DecoderConfig) -> Axes:
    """Returns the axes of all parameters of a decoder."""
    axes: dict[str, Any] = {
        "embedding": ("vocab", "embed"),
        "norm": norm_axes(config, ("embed",)),
        **({"layers": layer_axes(config)} if config.mixed is None else mixed_axes(config, config.mixed)),
    }
    if config.linear is not None:
        axes["linear"] = linear_axes(config)
    if config.embed_norm:
        axes["embed_norm"] = norm_axes(config, ("embed",))
    if config.head_activation:
        axes |= {"head_dense": ("embed", None), "head_norm": norm_axes(config, ("embed",))}
    if config.logit_bias:
        axes["logit_bias"] = ("vocab",)
    if config.position == "learned":
        axes["positions"] = ("buckets", "embed")  # a table to look up, as that of distances
    if not config.tie_embeddings:
        axes["lm_head"] = ("embed", "vocab")
    return axes


def mixed_axes(config: DecoderConfig, mixed: MixedAttention) -> Axes:
    """Returns the axes of the stacks of mixed layers, and of what each layer has of a token."""
    norm = norm_axes(config, ("layers", "embed"))

    def stack(name: str) -> Axes:
        axes = layer_axes(config)
        absent = {"k", "v", "k_norm"} if name.startswith("shared") else set()
        if name == "full" and mixed.keys_as_values:
            absent = {"v"}
        own: Axes = {
            "attention": {part: axis for part, axis in axes["attention"].items() if part not in absent},
            "mlp": axes["mlp"],
            "scalar": ("layers", None),
        }
        if mixed.per_layer_width:
            own["per_layer"] = {
                "gate": ("layers", "embed", None),
                "projection": ("layers", None, "embed"),
                "post_norm": norm,
            }
        return own if name == "layers" else {"layers": own}

    stacks: Axes = {name: stack(name) for name in layer_numbers(config, mixed)}
    if mixed.per_layer_width:
        own_norm = norm_axes(config, (None,))  # type: ignore[arg-type]
        stacks["per_layer"] = {"table": ("vocab", "mlp"), "projection": ("embed", "mlp"), "norm": own_norm}
    return stacks


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
