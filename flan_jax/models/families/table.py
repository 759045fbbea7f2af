"""The families of decoders, a row each.

A file of a family has ``FAMILY``, how transformers writes it, and ``PRESETS``, its published sizes. Where a model names no
family it goes out as the first one here that has its shape.
"""

from types import ModuleType

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.families import gemma, gemma2, gemma3, gpt2, llama, mistral, olmo2, qwen2, qwen3
from flan_jax.models.huggingface.family import Family

MODULES: dict[str, ModuleType] = {  # transformers' model_type: the file
    "llama": llama,
    "qwen2": qwen2,
    "mistral": mistral,
    "gpt2": gpt2,
    "qwen3": qwen3,
    "gemma": gemma,
    "olmo2": olmo2,
    "gemma2": gemma2,
    "gemma3_text": gemma3,
}
FAMILIES: dict[str, Family] = {kind: module.FAMILY for kind, module in MODULES.items()}
PRESETS: dict[str, DecoderConfig] = {name: size for module in MODULES.values() for name, size in module.PRESETS.items()}
