"""SmolLM3: a Llama that leaves every fourth layer without positions."""

from typing import Any

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.config_fields import FieldPart, FieldReader
from flan_jax.models.huggingface.decoder_families.sizes import sized
from flan_jax.models.huggingface.family import SHARED, SILU, SIZES, Family
from flan_jax.models.huggingface.rope_fields import ROPE
from flan_jax.models.huggingface.window_fields import layer_types, read_windows, shortest_pattern


def _rotated(given: FieldReader) -> list[bool]:
    layers, every = given["no_rope_layers"], given["no_rope_layer_interval"]
    depth = given.required("num_hidden_layers")
    return [bool(has) for has in layers] if layers else [bool((layer + 1) % every) for layer in range(depth)]


def _read(given: FieldReader) -> dict[str, Any]:
    rotated = _rotated(given)
    windows = read_windows(given, lambda layer: not rotated[layer])
    if not given["use_sliding_window"]:
        windows = {"sliding_window": None}
    return {"rope_pattern": shortest_pattern(rotated), **windows}


def _write(config: DecoderConfig) -> dict[str, Any]:
    return {
        "no_rope_layers": [int(has) for has in config.rotated_layers],
        "use_sliding_window": config.sliding_window is not None,
        "sliding_window": config.sliding_window,
        "layer_types": layer_types(config),
    }


FAMILY = Family(
    "SmolLM3ForCausalLM",
    defaults={
        **SHARED, "max_position_embeddings": 32768, "tie_word_embeddings": True, "mlp_bias": False, "bos_token_id": 128000,
        "eos_token_id": 128001, "pad_token_id": 128004, "rope_theta": 2_000_000.0, "no_rope_layer_interval": 4,
        "use_sliding_window": False,
    },
    fields={**SIZES, "mlp_bias": "mlp_bias"},
    parts=(SILU, ROPE, FieldPart(_read, _write)),
    ignored=("pretraining_tp", "max_window_layers"),
)  # fmt: skip
PRESETS = {
    "smollm3_3b": sized(
        128256, 2048, 36, 16, 4, 128, 11008, family="smollm3", norm_epsilon=1e-6, rope_theta=5_000_000.0,
        rope_pattern=(True, True, True, False), max_positions=65536, tie_embeddings=True, eos_id=128001, bos_id=128000,
        pad_id=128004,
    ),
}  # fmt: skip
