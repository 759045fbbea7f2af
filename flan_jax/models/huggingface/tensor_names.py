"""Tables of transformers' tensor names: for ``tensors.TensorLayout``, in the order of its modules."""

_LAYER = "model.layers.{}."
_OUTER = {"model.norm.weight": "norm.scale", "lm_head.weight": "lm_head"}
_INNER = {
    "model.embed_tokens.weight": "embedding",
    **{
        f"{_LAYER}self_attn.{x}_proj.{kind}": f"layers.attention.{x}{suffix}"
        for x in "qkvo"
        for kind, suffix in {"weight": "", "bias": "_bias"}.items()
    },
    **{f"{_LAYER}self_attn.{x}_norm.weight": f"layers.attention.{x}_norm.scale" for x in "qk"},
    **{
        f"{_LAYER}mlp.{theirs}_proj.{kind}": f"layers.mlp.{ours}{suffix}"
        for theirs, ours in {"gate": "wi_0", "up": "wi_1", "down": "wo"}.items()
        for kind, suffix in {"weight": "", "bias": "_bias"}.items()
    },
}
LLAMA_NAMES = {
    **_INNER,
    _LAYER + "input_layernorm.weight": "layers.attention.norm.scale",
    _LAYER + "post_attention_layernorm.weight": "layers.mlp.norm.scale",
    **_OUTER,
}
POST_NORM_NAMES = {  # Gemma 2 and 3 have all four, OLMo 2 those behind
    **_INNER,
    _LAYER + "input_layernorm.weight": "layers.attention.norm.scale",
    _LAYER + "post_attention_layernorm.weight": "layers.attention.post_norm.scale",
    _LAYER + "pre_feedforward_layernorm.weight": "layers.mlp.norm.scale",
    _LAYER + "post_feedforward_layernorm.weight": "layers.mlp.post_norm.scale",
    **_OUTER,
}


def _gpt2_linear(theirs: str, ours: str) -> dict[str, str]:
    return {
        f"transformer.h.{{}}.{theirs}.{kind}": " ".join(f"layers.{part}{suffix}" for part in ours.split())
        for kind, suffix in {"weight": "", "bias": "_bias"}.items()
    }


def _gpt2_norm(theirs: str, ours: str) -> dict[str, str]:
    return {
        f"transformer.{theirs}.{kind}": f"{ours}.{leaf}" for kind, leaf in {"weight": "scale", "bias": "bias"}.items()
    }


GPT2_NAMES = {
    "transformer.wte.weight": "embedding",
    "transformer.wpe.weight": "positions",
    **_gpt2_norm("h.{}.ln_1", "layers.attention.norm"),
    **_gpt2_linear("attn.c_attn", "attention.q attention.k attention.v"),
    **_gpt2_linear("attn.c_proj", "attention.o"),
    **_gpt2_norm("h.{}.ln_2", "layers.mlp.norm"),
    **_gpt2_linear("mlp.c_fc", "mlp.wi"),
    **_gpt2_linear("mlp.c_proj", "mlp.wo"),
    **_gpt2_norm("ln_f", "norm"),
    "lm_head.weight": "lm_head",
}


def _t5_stack(stack: str, parts: dict[str, str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for number, (ours, theirs) in enumerate(parts.items()):
        layer, kernels = f"{stack}.block.{{}}.layer.{number}.", ("q", "k", "v", "o")
        if ours == "mlp":
            kernels = ("wi", "wi_0", "wi_1", "wo")  # type: ignore[assignment]
        names |= {f"{layer}{theirs}.{kernel}.weight": f"{stack}.layers.{ours}.{kernel}" for kernel in kernels}
        if ours == "attention":  # one table for all layers, which the first of them holds
            table = f"{stack}.block.0.layer.0.{theirs}.relative_attention_bias.weight"
            names[table] = f"{stack}.bias.table"
        names[f"{layer}layer_norm.weight"] = f"{stack}.layers.{ours}.norm.scale"
    return {**names, f"{stack}.final_layer_norm.weight": f"{stack}.norm.scale"}


T5_NAMES = {
    "shared.weight": "embedding",
    **_t5_stack("encoder", {"attention": "SelfAttention", "mlp": "DenseReluDense"}),
    **_t5_stack(
        "decoder", {"attention": "SelfAttention", "cross_attention": "EncDecAttention", "mlp": "DenseReluDense"}
    ),
    "lm_head.weight": "lm_head",
}
