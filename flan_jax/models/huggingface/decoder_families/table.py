"""The families of decoders, a row each.

A file of a family has ``FAMILY``, how transformers writes it, and ``PRESETS``, its published sizes. Where a model names no
family it goes out as the first one here that has its shape.
"""

from types import ModuleType

from flan_jax.errors import UserError
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.decoder_families import (
    gemma,
    gemma2,
    gemma3,
    gemma4,
    gemma4_unified,
    gpt2,
    llama,
    mistral,
    modernbert,
    olmo2,
    olmo3,
    qwen2,
    qwen3,
    qwen3_5,
    smollm3,
)
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
    "olmo3": olmo3,
    "smollm3": smollm3,
    "modernbert-decoder": modernbert,
    "qwen3_5_text": qwen3_5,
    "gemma4_text": gemma4,
    "gemma4_unified_text": gemma4_unified,
}
FAMILIES: dict[str, Family] = {}
PRESETS: dict[str, DecoderConfig] = {}


def add(kind: str, module: ModuleType) -> None:
    """Adds the file of a family, such as a user's own module that ``--module_import`` names.

    Args:
        kind: transformers' ``model_type``.
        module: with ``FAMILY`` and ``PRESETS``.

    Raises:
        UserError: there is such a kind or such a preset.
    """
    taken = (
        [f"a family {kind!r}"]
        if kind in FAMILIES
        else [f"a preset {name!r}" for name in module.PRESETS if name in PRESETS]
    )
    if taken:
        raise UserError(f"The family {kind!r} cannot be added: there is {taken[0]} already. Give it another name.")
    FAMILIES[kind] = module.FAMILY
    PRESETS.update(module.PRESETS)


for _kind, _module in MODULES.items():
    add(_kind, _module)
