"""Published sizes in short: a configuration from its seven numbers, and what else it has."""

from typing import Any

from flan_jax.models.decoder.config import DecoderConfig


def sized(
    vocab_size: int, d_model: int, layers: int, heads: int, kv_heads: int, d_head: int, d_ff: int, **rest: Any
) -> DecoderConfig:
    """Creates a configuration of these sizes."""
    return DecoderConfig(vocab_size, d_model, layers, heads, kv_heads, d_head, d_ff, **rest)
