"""Published sizes of decoders, each as its base model; the files of ``models.huggingface.decoder_families`` have them."""

import dataclasses
from typing import Any

from flan_jax.errors import unknown
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface.decoder_families.table import PRESETS as PRESETS


def preset(name: str, **changes: Any) -> DecoderConfig:
    """Returns a published size such as ``llama3_2_1b``, with the fields in ``changes`` replaced.

    Raises:
        UserError: unknown name; the message suggests near ones.
    """
    if name not in PRESETS:
        raise unknown("model preset", name, PRESETS)
    return dataclasses.replace(PRESETS[name], **changes)
