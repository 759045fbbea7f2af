"""Published sizes of all kinds of models under one name each, such as ``llama3_1_8b`` or ``t5_1_1_xl``."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError, unknown
from flan_jax.models import decoder_presets
from flan_jax.models.build import ModelConfig
from flan_jax.models.t5 import presets as t5_presets
from flan_jax.models.t5gemma import presets as t5gemma_presets

PRESETS: Mapping[str, ModelConfig] = {
    **t5_presets.PRESETS,
    **t5gemma_presets.PRESETS,
    **decoder_presets.PRESETS,
}


def preset_model(
    preset: str,
    *,
    eos_id: int | None = None,
    bos_id: int | None = None,
    reads_start: bool | None = None,
    dropout_rate: float | None = None,
    dtype: str = "float32",
    remat: str = "none",
    attention: str = "auto",
    prefix_lm: bool = False,
) -> ModelConfig:
    """Returns a published size, its embedding table included, with what a run may choose itself.

    Args:
        preset: a name of ``PRESETS``.
        eos_id: what ends a sequence in the run's vocabulary; ``None`` leaves the published one.
        bos_id: what begins one there; ``None`` for nothing, which in front of a decoder's row is an empty place.
        reads_start: whether a text begins with it; ``None`` for yes.
        dropout_rate: as in the configuration; ``None`` for that of its kind, ``tuned_dropout``.
        dtype: of activations and matrix products.
        remat: what is computed again in the backward pass, as in the configuration.
        attention: how attention is computed, as in the configuration.
        prefix_lm: tokens of the inputs see each other in both directions; of a decoder.

    Raises:
        UserError: an unknown name, with near ones; or a prefix asked of an encoder–decoder.
    """
    if preset not in PRESETS:
        raise unknown("model preset", preset, PRESETS)
    config = PRESETS[preset]
    if prefix_lm and not config.decoder_only:
        raise UserError(
            f"{preset!r} is an encoder–decoder, whose encoder reads inputs in both directions anyway. Leave prefix_lm out."
        )
    changes: dict[str, Any] = {"dtype": dtype, "remat": remat, "attention": attention}
    changes["dropout_rate"] = config.tuned_dropout if dropout_rate is None else dropout_rate
    if eos_id is not None:
        changes["eos_id"] = eos_id
    if config.decoder_only:
        # Ids of the published vocabulary are those of other tokens in the run's.
        changes |= {"prefix_lm": prefix_lm, "pad_id": 0, "bos_id": bos_id}
        changes["reads_start"] = True if reads_start is None else reads_start
    else:
        config = config.with_start_token(bos_id, reads_start)
    return dataclasses.replace(config, **changes)
