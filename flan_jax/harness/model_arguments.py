"""``--model_args`` of the harness: ``path`` and what else is known, checked once, with the names that may have been meant."""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any, Literal

import jax

from flan_jax.errors import UserError, did_you_mean
from flan_jax.typed import Natural, Positive, Seed, check_fields

_LOG = logging.getLogger(__name__)
AUTO_ROWS = 32
"""Rows of a batch where the harness says ``auto``."""


@dataclasses.dataclass(frozen=True)
class ModelArguments:
    """Arguments of the model as a user writes them.

    Attributes:
        path: a run's folder; or a model of Hugging Face's, its folder or ``hf:OWNER/NAME``.
        step: of a run, the checkpoint; ``None`` for the newest.
        adapter: a folder of PEFT that is added to a model of Hugging Face's.
        max_length: tokens that are read; ``None`` for what the model says.
        chat_template: in place of that beside the tokenizer: ``plain``, ``chatml``, a folder or a ``*.jinja`` file.
        end_of_input: behind a decoder's context stands what ended inputs in training.
        dtype: of activations and products.
        seed: of what is drawn, where a task draws.
        rows: of a batch.
    """

    path: str
    step: Natural | None = None
    adapter: str = ""
    max_length: Positive | None = None
    chat_template: str = ""
    end_of_input: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"
    seed: Seed = 0
    rows: Positive = 1

    def __post_init__(self) -> None:
        check_fields(self, "model_args")

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "ModelArguments":
        """Makes the arguments of what the harness hands on.

        Raises:
            UserError: no path, an argument that is not known, or a value that cannot be.
        """
        known = [field.name for field in dataclasses.fields(cls) if field.name != "rows"]
        of_harness = {name: given.get(name) for name in ("batch_size", "max_batch_size", "device", "trust_remote_code")}
        own = {name: value for name, value in given.items() if name not in of_harness}
        for name in own:
            if name not in known:
                hint = " Did you mean 'path'?" if name == "pretrained" else did_you_mean(name, known)
                raise UserError(f"flan_jax knows no model argument {name!r}.{hint} Known: {', '.join(known)}.")
        if not str(own.get("path", "")):
            raise UserError("flan_jax needs the model's folder: --model_args path=FOLDER.")
        for name in ("path", "adapter", "chat_template"):  # the harness reads a folder `123` as a number
            if name in own:
                own[name] = str(own[name])
        if of_harness["trust_remote_code"]:
            _LOG.warning("trust_remote_code is for data sets here: no code that comes with a model is run.")
        _check_device(of_harness["device"])
        return cls(**own, rows=_rows(of_harness["batch_size"], of_harness["max_batch_size"]))


def _rows(batch_size: Any, most: Any) -> int:
    text = str(1 if batch_size is None else batch_size)
    if text.partition(":")[0] == "auto":
        return min(AUTO_ROWS, int(most)) if most else AUTO_ROWS
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--batch_size {text} must be a whole number of at least 1, or 'auto' for {AUTO_ROWS}.")
    return int(text)


def _check_device(device: Any) -> None:
    """Refuses a processor where JAX computes on another device; the harness itself names ``cuda:0`` where nobody says."""
    found = jax.default_backend()
    if device == "cpu" and found != "cpu":
        raise UserError(
            f"--device cpu: JAX computes on {found} here. Set JAX_PLATFORMS=cpu in the environment instead, and leave it out."
        )
