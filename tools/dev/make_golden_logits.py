"""Writes tests/golden/t5_logits and decoder_logits: tiny random models of transformers with PyTorch's logits.

Run by hand when a case is added:  python tools/dev/make_golden_logits.py {t5,decoder} [FOLDER]
Needs torch and transformers; the tests that read the files need neither.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

CASES: dict[str, dict[str, Any]] = {
    "gated_untied": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "gated_tied": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": True},
    "plain_untied": {"feed_forward_proj": "relu", "tie_word_embeddings": False},
    "plain_tied": {"feed_forward_proj": "relu", "tie_word_embeddings": True},
}
# Rows longer than the farthest distance, so that every bucket of positions is used.
SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "d_model": 16,
    "d_kv": 6,
    "num_heads": 3,
    "d_ff": 20,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 10,
    "decoder_start_token_id": 0,
}
DECODER_SIZES: dict[str, Any] = {
    "vocab_size": 23,
    "hidden_size": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 10,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
}
_LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 100.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
_GEMMA3_ROPE = {
    "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
}
_GEMMA4 = {
    "num_hidden_layers": 4, "head_dim": 4, "global_head_dim": 8, "sliding_window": 4, "final_logit_softcapping": 4.0,
    "layer_types": ["sliding_attention", "full_attention"] * 2, "rope_parameters": {
        "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.5, "rope_theta": 1000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 20.0},
    },
}  # fmt: skip
# Windows shorter than the rows, so that they matter.
DECODER_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", {"rope_parameters": _LLAMA3, "head_dim": 4}),
    "qwen2": ("Qwen2ForCausalLM", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    "mistral": ("MistralForCausalLM", {"sliding_window": 5, "head_dim": 4, "tie_word_embeddings": True}),
    "gpt2": (
        "GPT2LMHeadModel",
        {"vocab_size": 23, "n_embd": 12, "n_layer": 2, "n_head": 3, "n_positions": 32, "eos_token_id": 1, "bos_token_id": 2},
    ),
    "qwen3": ("Qwen3ForCausalLM", {"head_dim": 4, "tie_word_embeddings": True}),
    "gemma": ("GemmaForCausalLM", {"head_dim": 4}),
    "olmo2": ("Olmo2ForCausalLM", {}),
    "gemma2": (
        "Gemma2ForCausalLM",
        {"head_dim": 4, "sliding_window": 4, "query_pre_attn_scalar": 9, "attn_logit_softcapping": 2.0,
         "final_logit_softcapping": 4.0},
    ),
    "gemma3_text": (
        "Gemma3ForCausalLM",
        {"head_dim": 4, "sliding_window": 4, "query_pre_attn_scalar": 9, "rope_parameters": _GEMMA3_ROPE,
         "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]},
    ),
    "olmo3": (
        "Olmo3ForCausalLM",
        {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    ),
    "smollm3": ("SmolLM3ForCausalLM", {"no_rope_layers": [1, 0, 1], "tie_word_embeddings": False}),
    "qwen3_5_text": (
        "Qwen3_5ForCausalLM",
        {"num_hidden_layers": 4, "head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 3,
         "linear_value_head_dim": 5},
    ),
    "gemma4_text": (
        "Gemma4ForCausalLM",
        {**_GEMMA4, "hidden_size_per_layer_input": 5, "vocab_size_per_layer_input": 23, "num_kv_shared_layers": 2,
         "use_double_wide_mlp": True},
    ),
    "gemma4_unified_text": (
        "Gemma4UnifiedForCausalLM", {**_GEMMA4, "attention_k_eq_v": True, "num_global_key_value_heads": 1}
    ),
    "modernbert-decoder": ("ModernBertDecoderForCausalLM", {"local_attention": 8, "num_key_value_heads": None}),
}  # fmt: skip
INPUT_LENGTHS = (14, 9, 3)
TARGET_LENGTH = 13


def make_model(config: dict[str, Any], seed: int) -> Any:
    """A model in which every parameter matters: norms away from 1, position biases as large as scores."""
    torch.manual_seed(seed)
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**config)).eval()
    if not config["tie_word_embeddings"]:  # transformers 5 ties a fresh model whatever the configuration says
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * config["d_model"] ** -0.5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layer_norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif "relative_attention_bias" in name:
                parameter.normal_()
    return model


def make_inputs(vocab_size: int, seed: int) -> dict[str, np.ndarray]:
    """Ragged inputs, padded with 0, and decoder inputs that begin with 0."""
    rng = np.random.default_rng(seed)
    longest, rows = max(INPUT_LENGTHS), len(INPUT_LENGTHS)
    mask = np.arange(longest) < np.array(INPUT_LENGTHS)[:, None]
    decoder = rng.integers(2, vocab_size, (rows, TARGET_LENGTH), dtype=np.int32)
    decoder[:, 0] = 0
    return {
        "encoder_input_tokens": np.where(mask, rng.integers(2, vocab_size, mask.shape, dtype=np.int32), 0),
        "decoder_input_tokens": decoder,
    }


def write_t5(folder: Path) -> None:
    """Writes one file a case."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, case) in enumerate(CASES.items()):
        config = {**SIZES, **case}
        model, inputs = make_model(config, seed), make_inputs(config["vocab_size"], seed)
        tokens = {key: torch.from_numpy(value).long() for key, value in inputs.items()}
        with torch.no_grad():
            logits = model(
                input_ids=tokens["encoder_input_tokens"],
                attention_mask=(tokens["encoder_input_tokens"] != 0).long(),
                decoder_input_ids=tokens["decoder_input_tokens"],
            ).logits
        kept = {key: value for key, value in model.state_dict().items() if "embed_tokens" not in key}
        if case["tie_word_embeddings"]:
            del kept["lm_head.weight"]
        tensors = {f"weights/{key}": value.numpy() for key, value in kept.items()}
        tensors |= {f"inputs/{key}": value for key, value in inputs.items()} | {"logits": logits.numpy()}
        versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
        save_file(tensors, folder / f"{name}.safetensors", metadata={"config": json.dumps(config), "made_by": versions})
        print(f"{name}: logits {list(logits.shape)}, largest {logits.abs().max():.3f}")


def write_decoders(folder: Path) -> None:
    """Writes one file a family: the config.json in the metadata, the weights, tokens and logits."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, (architecture, case)) in enumerate(DECODER_CASES.items()):
        torch.manual_seed(seed)
        model_class = getattr(transformers, architecture)
        fields = case if name == "gpt2" else {**DECODER_SIZES, **case}
        fields = {field: value for field, value in fields.items() if value is not None}
        model = model_class(model_class.config_class(**fields, attn_implementation="eager")).eval()
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if parameter.ndim == 1:
                    offset = ("gemma" in name and "gemma4" not in name) or name == "qwen3_5_text"
                    around = 0.0 if "bias" in key or offset else 1.0
                    parameter.uniform_(around - 0.5, around + 0.5)
                else:
                    parameter.normal_(0, 0.3)
            for key, buffer in model.named_buffers():
                if key.endswith("layer_scalar"):
                    buffer.uniform_(0.5, 1.5)
            rng = np.random.default_rng(seed)
            tokens = rng.integers(3, fields["vocab_size"], (2, TARGET_LENGTH), dtype=np.int32)
            logits = model(torch.from_numpy(tokens).long()).logits
        config = {**model.config.to_dict(), "architectures": [architecture]}
        kept = dict(model.state_dict())
        if config["tie_word_embeddings"]:
            kept = {key: value for key, value in kept.items() if key not in ("lm_head.weight", "decoder.weight")}
        tensors = {f"weights/{key}": value.numpy() for key, value in kept.items()}
        tensors |= {"tokens": tokens, "logits": logits.numpy()}
        versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
        save_file(tensors, folder / f"{name}.safetensors", metadata={"config": json.dumps(config), "made_by": versions})
        print(f"{name}: logits {list(logits.shape)}, largest {logits.abs().max():.3f}")


if __name__ == "__main__":
    kind = sys.argv[1] if len(sys.argv) > 1 else ""
    if kind not in ("t5", "decoder"):
        sys.exit(f"usage: {sys.argv[0]} {{t5,decoder}} [FOLDER]")
    default = Path(__file__).parents[2] / "tests" / "golden" / f"{kind}_logits"
    (write_t5 if kind == "t5" else write_decoders)(Path(sys.argv[2]) if len(sys.argv) > 2 else default)
