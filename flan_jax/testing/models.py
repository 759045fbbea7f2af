"""Tiny models and batches: shapes with nothing in common, so that a swapped axis shows."""

from typing import Any

import jax
import numpy as np

from flan_jax.models.build import ModelConfig, abstract_params
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.t5.config import T5Config
from flan_jax.models.t5gemma.config import T5GemmaConfig

_TINY: dict[str, Any] = {
    "vocab_size": 61,
    "d_model": 16,
    "d_kv": 5,
    "num_heads": 3,
    "d_ff": 28,
    "num_encoder_layers": 2,
    "num_decoder_layers": 3,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
}


def tiny_t5(**overrides: Any) -> T5Config:
    """A T5 of some ten thousand parameters that compiles in a second.

    Args:
        overrides: fields of ``T5Config`` to set; ``vocab_size=259`` fits the byte vocabulary, and
            ``d_model``, ``d_ff`` and ``num_heads`` divisible by a mesh let the model be sharded over it.
    """
    return T5Config(**{**_TINY, **overrides})


_TINY_DECODER: dict[str, Any] = {
    "vocab_size": 61,
    "d_model": 20,
    "num_layers": 3,
    "num_heads": 6,
    "num_kv_heads": 2,
    "d_head": 4,
    "d_ff": 28,
    "max_positions": 48,
}


def tiny_decoder(**overrides: Any) -> DecoderConfig:
    """A decoder of some ten thousand parameters, a Llama where nothing else is said.

    Args:
        overrides: fields of ``DecoderConfig`` to set.
    """
    return DecoderConfig(**{**_TINY_DECODER, **overrides})


_TINY_T5GEMMA: dict[str, Any] = {
    "vocab_size": 61,
    "d_model": 12,
    "num_encoder_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 6,
    "num_kv_heads": 2,
    "d_head": 4,
    "d_ff": 28,
    "sliding_window": 4,
}


def tiny_t5gemma(version: int = 1, **overrides: Any) -> T5GemmaConfig:
    """A T5Gemma of some ten thousand parameters; of version 1 with a wider encoder.

    Args:
        version: 1 or 2.
        overrides: fields of ``T5GemmaConfig`` to set.
    """
    own: dict[str, Any] = {
        "encoder_d_model": 20,
        "encoder_num_heads": 2,
        "attention_softcap": 5.0,
        "logit_softcap": 9.0,
    }
    if version == 2:
        own = {
            "merged_attention": True, "shared_embedding": True, "halved_window": True, "qk_norm": "head", "eoi_id": 7,
            "local_rope_theta": 100.0,
        }  # fmt: skip
    return T5GemmaConfig(**{**_TINY_T5GEMMA, **own, **overrides})


def random_params(config: ModelConfig, seed: int = 0) -> dict[str, Any]:
    """Parameters in which everything matters, without compiling an initialiser.

    Norm scales lie away from 1, and position biases are as large as scores, so that a layer left out or a
    position mistaken shows in the logits.

    Returns:
        float32 NumPy arrays in the structure of ``init_model``.
    """
    rng = np.random.default_rng(seed)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        name = path[-1].key
        if name == "scale":
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        if name.endswith("bias"):
            return (0.3 * rng.normal(size=leaf.shape)).astype(np.float32)
        std = 1.0 if name in ("table", "embedding", "positions", "eoi_embedding") else leaf.shape[-2] ** -0.5
        return (std * rng.normal(size=leaf.shape)).astype(np.float32)

    return jax.tree.map_with_path(draw, abstract_params(config))


def random_batch(
    config: T5Config | T5GemmaConfig, *, rows: int = 2, inputs: int = 9, targets: int = 6, seed: int = 0
) -> dict[str, np.ndarray]:
    """A batch of one example a row with random tokens and ragged lengths, with the keys that the feed gives.

    Returns:
        ``encoder_*`` of shape ``[rows, inputs]`` and ``decoder_*`` of shape ``[rows, targets]``.
    """
    rng = np.random.default_rng(seed)
    low = max(config.pad_id, config.eos_id) + 1

    def side(length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        segments = (np.arange(length) < rng.integers(2, length + 1, (rows, 1))).astype(np.int32)
        tokens = np.where(segments, rng.integers(low, config.vocab_size, (rows, length)), config.pad_id)
        last = segments.sum(axis=1) - 1
        tokens[np.arange(rows), last] = config.eos_id
        return tokens.astype(np.int32), segments, (np.arange(length, dtype=np.int32) * segments)

    encoder_tokens, encoder_segments, encoder_positions = side(inputs)
    decoder_targets, decoder_segments, decoder_positions = side(targets)
    shifted = np.concatenate([np.full((rows, 1), config.decoder_start_id), decoder_targets[:, :-1]], axis=1)
    return {
        "encoder_input_tokens": encoder_tokens,
        "encoder_segment_ids": encoder_segments,
        "encoder_positions": encoder_positions,
        "decoder_input_tokens": np.where(decoder_segments, shifted, config.pad_id).astype(np.int32),
        "decoder_target_tokens": decoder_targets,
        "decoder_loss_weights": decoder_segments.astype(np.float32),
        "decoder_segment_ids": decoder_segments,
        "decoder_positions": decoder_positions,
        "decoder_task_ids": np.where(decoder_segments, 0, -1).astype(np.int32),
    }
