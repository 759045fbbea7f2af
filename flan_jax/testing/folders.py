"""A tiny chat model as a Hugging Face folder: configuration, weights, tokenizer and chat template."""

import json
from pathlib import Path
from typing import Any

from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.huggingface import writer
from flan_jax.testing.models import random_params, tiny_decoder
from flan_jax.testing.tokenizers import byte_level, save

PAD, BEGIN, END, TURN = "<pad>", "<|begin|>", "<|end|>", "<|turn|>"
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message.role }}: {{ message.content }}<|turn|>{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def chat_model(folder: Path, *, begins: bool = True, **overrides: Any) -> DecoderConfig:
    """Saves a model of random weights whose turns and texts end with two different tokens, as Llama 3's do.

    Args:
        folder: made by this.
        begins: its tokenizer says that a text begins with id 1.
        overrides: fields of ``DecoderConfig`` to set.

    Returns:
        What it is: ids 1, 2 and 3 begin a text, end it, and end a turn; its tokenizer has a few less than 400 ids.
    """
    names = {"pad_token": PAD, "bos_token": BEGIN, "eos_token": END, "chat_template": TEMPLATE}
    save(folder, byte_level(PAD, BEGIN, END, TURN), {**names, "add_bos_token": begins})
    values = {"vocab_size": 400, "num_layers": 2, "max_positions": 256, "bos_id": 1, "eos_id": 2, "stop_ids": (3,)}
    config = tiny_decoder(**{**values, **overrides})
    writer.save(folder, config, random_params(config))
    return config


def also_ends(folder: Path, *ids: int) -> None:
    """Lets the folder's ``generation_config.json`` say that these tokens end a text."""
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": list(ids)}), encoding="utf-8")
