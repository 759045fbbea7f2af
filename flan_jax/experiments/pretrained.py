"""A model as its Hugging Face folder describes it, with what a run may choose itself."""

import dataclasses
from typing import Any

from flan_jax.data.hub_models import model_folder
from flan_jax.errors import UserError
from flan_jax.models.build import ModelConfig
from flan_jax.models.huggingface.folder import read_config


def pretrained_model(
    initial_checkpoint: str,
    *,
    eos_id: int | None = None,
    bos_id: int | None = None,
    dropout_rate: float = 0.0,
    dtype: str = "float32",
    remat: str = "none",
    prefix_lm: bool = False,
) -> ModelConfig:
    """The model in the folder that a run starts from: sizes and kind are those of its ``config.json``.

    Args:
        initial_checkpoint: a Hugging Face folder, or a model of the hub.
        eos_id: what ends a sequence in the run's vocabulary; ``None`` leaves what the folder says. Where they
            differ, as those of chat models may, the folder's ends what is generated too.
        bos_id: what begins one in the run's vocabulary.
        dropout_rate: as in the configuration of either kind of model.
        dtype: of activations and matrix products.
        remat: what is computed again in the backward pass, as in the configuration.
        prefix_lm: tokens of the inputs see each other in both directions; of a decoder.

    Raises:
        UserError: no such folder, a model that cannot be read, or a prefix asked of an encoder–decoder.
    """
    if not initial_checkpoint:
        raise UserError(
            "The model is to be read from a Hugging Face folder, but INITIAL_CHECKPOINT_PATH is empty. Name the folder."
        )
    config = read_config(model_folder(initial_checkpoint), dtype=dtype)
    changes: dict[str, Any] = {"dropout_rate": dropout_rate, "remat": remat}
    if eos_id is not None and eos_id != config.eos_id:
        changes |= {"eos_id": eos_id, "stop_ids": (config.eos_id, *(i for i in config.stop_ids if i != eos_id))}
    if config.decoder_only:
        changes |= {"prefix_lm": prefix_lm, **({} if bos_id is None else {"bos_id": bos_id})}
    elif prefix_lm:
        raise UserError(
            f"{initial_checkpoint!r} is an encoder–decoder, whose encoder reads inputs in both directions anyway. "
            "Leave prefix_lm out."
        )
    return dataclasses.replace(config, **changes)
