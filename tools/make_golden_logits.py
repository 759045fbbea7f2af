"""Writes tests/golden/t5_logits: tiny random T5s of transformers with the logits that PyTorch computes.

Run by hand when a case is added:  python tools/make_golden_logits.py [FOLDER]
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


def main(folder: Path) -> None:
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


if __name__ == "__main__":
    default = Path(__file__).parents[1] / "tests" / "golden" / "t5_logits"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
