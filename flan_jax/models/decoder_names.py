"""How transformers calls the tensors of a decoder: tables from a name, with ``{}`` for the layer, to our parameter.

A fused tensor names several parameters, which lie side by side in it.
"""

_LAYER = "model.layers.{}."
_OUTER = {
    "model.embed_tokens.weight": "embedding",
    "model.norm.weight": "norm.scale",
    "lm_head.weight": "lm_head",
}
_INNER = {
    **{f"{_LAYER}self_attn.{x}_proj.weight": f"layers.attention.{x}" for x in "qkvo"},
    **{f"{_LAYER}self_attn.{x}_proj.bias": f"layers.attention.{x}_bias" for x in "qkvo"},
    **{f"{_LAYER}self_attn.{x}_norm.weight": f"layers.attention.{x}_norm.scale" for x in "qk"},
    **{
        f"{_LAYER}mlp.{theirs}_proj.{kind}": f"layers.mlp.{ours}{suffix}"
        for theirs, ours in {"gate": "wi_0", "up": "wi_1", "down": "wo"}.items()
        for kind, suffix in {"weight": "", "bias": "_bias"}.items()
    },
}
LLAMA_NAMES = {
    **_OUTER,
    **_INNER,
    _LAYER + "input_layernorm.weight": "layers.attention.norm.scale",
    _LAYER + "post_attention_layernorm.weight": "layers.mlp.norm.scale",
}
POST_NORM_NAMES = {  # Gemma 2 and 3 have all four, OLMo 2 those behind
    **_OUTER,
    **_INNER,
    _LAYER + "input_layernorm.weight": "layers.attention.norm.scale",
    _LAYER + "post_attention_layernorm.weight": "layers.attention.post_norm.scale",
    _LAYER + "pre_feedforward_layernorm.weight": "layers.mlp.norm.scale",
    _LAYER + "post_feedforward_layernorm.weight": "layers.mlp.post_norm.scale",
}
GPT2_NAMES = {
    "transformer.wte.weight": "embedding",
    "transformer.wpe.weight": "positions",
    "transformer.ln_f.weight": "norm.scale",
    "transformer.ln_f.bias": "norm.bias",
    "lm_head.weight": "lm_head",
    **{
        f"transformer.h.{{}}.{theirs}.{kind}": " ".join(f"layers.{part}{suffix}" for part in ours.split())
        for theirs, ours in {
            "attn.c_attn": "attention.q attention.k attention.v",
            "attn.c_proj": "attention.o",
            "mlp.c_fc": "mlp.wi",
            "mlp.c_proj": "mlp.wo",
        }.items()
        for kind, suffix in {"weight": "", "bias": "_bias"}.items()
    },
    **{
        f"transformer.h.{{}}.{theirs}.{kind}": f"layers.{ours}.norm.{leaf}"
        for theirs, ours in {"ln_1": "attention", "ln_2": "mlp"}.items()
        for kind, leaf in {"weight": "scale", "bias": "bias"}.items()
    },
}
