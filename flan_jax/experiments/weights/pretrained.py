"""A model as its Hugging Face folder describes it, with what a run may choose itself."""

import dataclasses
from pathlib import Path
from typing import Any

from flan_jax.data.sources.hub_models import model_folder
from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.model_snapshot import description_folder
from flan_jax.models.build import ModelConfig
from flan_jax.models.huggingface.reader import read_config
from flan_jax.train.optimizer import OptimizerConfig

_ANSWER = 256
_T5_ROOM = 8192  # T5 reads any length; longer ones are slips as a rule


def pretrained_model(
    initial_checkpoint: str,
    *,
    eos_id: int | None = None,
    bos_id: int | None = None,
    reads_start: bool | None = None,
    dropout_rate: float | None = None,
    dtype: str = "float32",
    remat: str = "none",
    attention: str = "auto",
    prefix_lm: bool = False,
    model_dir: str = "",
) -> ModelConfig:
    """Reads the model in the folder that a run starts from: sizes and kind are those of its ``config.json``.

    Args:
        initial_checkpoint: a Hugging Face folder, or a model of the hub.
        eos_id: what ends a sequence in the run's vocabulary; ``None`` leaves what the folder says. Where they
            differ, as those of chat models may, the folder's ends what is generated too.
        bos_id: what begins one in the run's vocabulary. Where nobody says, a text begins with what ends another.
        reads_start: whether a text begins with it, as in a decoder's configuration, by the run's vocabulary; ``None``
            where that says nothing, for yes.
        dropout_rate: as in the configuration of either kind of model; ``None`` for that of its kind,
            ``tuned_dropout``: a ``config.json`` says the rate of some other training, so it is not asked.
        dtype: of activations and matrix products.
        remat: what is computed again in the backward pass, as in the configuration.
        attention: how attention is computed, as in the configuration.
        prefix_lm: tokens of the inputs see each other in both directions; of a decoder.
        model_dir: of the run, which keeps a copy of the description for the time when the folder is gone.

    Raises:
        UserError: no such folder, a model that cannot be read, or a prefix asked of an encoder–decoder.
    """
    if not initial_checkpoint:
        raise UserError(
            "The model is to be read from a Hugging Face folder, but INITIAL_CHECKPOINT_PATH is empty. Name the folder."
        )
    config = read_config(description_folder(initial_checkpoint, model_dir), dtype=dtype)
    if dropout_rate is None:
        dropout_rate = config.tuned_dropout
    changes: dict[str, Any] = {"dropout_rate": dropout_rate, "remat": remat, "attention": attention}
    if eos_id is not None and eos_id != config.eos_id:
        changes |= {"eos_id": eos_id, "stop_ids": (config.eos_id, *(i for i in config.stop_ids if i != eos_id))}
    if config.decoder_only:
        changes |= {"prefix_lm": prefix_lm}
    elif prefix_lm:
        raise UserError(
            f"{initial_checkpoint!r} is an encoder–decoder, whose encoder reads inputs in both directions anyway. "
            "Leave prefix_lm out."
        )
    return dataclasses.replace(config.with_start_token(bos_id, reads_start), **changes)


def run_of_folder(folder: str | Path, *, max_tokens: int = 0, suggested: int = 0, adapter: str = "") -> RunConfig:
    """Makes a run that trains nothing: the model of a Hugging Face folder with its own tokenizer, to be asked.

    Args:
        folder: with configuration, weights and tokenizer.
        max_tokens: tokens of the longest answer; 0 for ``suggested``, or half of what the model reads if that is less.
        suggested: by the folder's settings of generation; 0 for 256.
        adapter: a folder of PEFT, added to the weights.

    Raises:
        UserError: as ``pretrained_model`` and ``load_vocabulary``; or no room is left for an instruction.
    """
    folder = model_folder(folder)
    vocabulary = load_vocabulary(folder)
    model = pretrained_model(
        str(folder),
        eos_id=vocabulary.eos_id,
        bos_id=vocabulary.bos_id,
        reads_start=vocabulary.adds_bos,
    )
    room = model.context_length or _T5_ROOM
    max_tokens = max_tokens or min(suggested or _ANSWER, room // 2)
    inputs = room - max_tokens
    if inputs < 2:
        raise UserError(
            f"An answer of {max_tokens} tokens leaves no room for an instruction: the model reads {room} "
            "tokens in all. Ask for fewer (--max_tokens)."
        )
    return RunConfig.from_options(
        model_dir=str(folder),
        mixture="none",
        lengths={"inputs": inputs, "targets": max(max_tokens, 2)},  # one token needs no room for an end
        model=model,
        optimizer=OptimizerConfig(),
        steps=0,
        batch_size=1,
        vocabulary=str(folder),
        initial_checkpoint=str(folder),
        initial_adapter=adapter,
    )
