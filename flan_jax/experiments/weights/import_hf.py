"""A Hugging Face folder made into one that runs start from: the weights as a checkpoint, the rest as it was."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flan_jax.data.sources.hub_models import model_folder
from flan_jax.experiments.model_snapshot import copy_description, keep_carried
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.weights.base_vocabulary import tokenizer_record
from flan_jax.experiments.weights.verify import CHECK_LOGITS_UP_TO, TOLERANCE, largest_difference, value_difference
from flan_jax.files import atomic_write_text, check_new_dir, new_dir
from flan_jax.models.build import ModelConfig, num_params
from flan_jax.models.huggingface import reader as huggingface
from flan_jax.models.huggingface.carried import select_left_out
from flan_jax.models.huggingface.tensors import shapes_of, split
from flan_jax.train.checkpoint_stream import Piece, StoredParams, save_pieces

Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class ImportedModel:
    """The outcome of an import.

    Attributes:
        source: where the weights came from, as it was named.
        folder: where they are now.
        model_type: transformers' name of the family.
        parameters: numbers in the weights.
        carried: tensors that the model does not use and that an export writes as they came, such as a vision tower's.
        kept: the files that were copied.
        checked: ``logits`` where the written model was run beside the source's, ``tensors`` where each number was
            compared, as the model is too large to be held twice.
        largest_difference: of what was compared.
        seconds: it took.
        left_out: tensors that are neither read nor kept, such as those of a vision tower beside a language model.
    """

    source: str
    folder: str
    model_type: str
    parameters: int
    carried: int
    kept: tuple[str, ...]
    checked: str
    largest_difference: float
    seconds: float
    left_out: int = 0


def import_folder(
    source: str | Path, destination: str | Path, *, allow_nonfinite: bool = False, log: Log = lambda line: None
) -> ImportedModel:
    """Makes ``destination`` a folder with a checkpoint of a Hugging Face folder's weights.

    One tensor is held at a time. The folder has its name when all is written and compared with the source.

    Args:
        source: a folder with ``config.json`` and safetensors files, or a model of the hub as ``OWNER/NAME``.
        destination: a folder that is not there yet.
        allow_nonfinite: take weights that are infinite or no numbers.
        log: told in a sentence what begins.

    Raises:
        UserError: the source cannot be read, or the destination is there.
    """
    started = time.monotonic()
    destination = Path(destination).expanduser()
    check_new_dir(destination)
    folder = model_folder(source)
    config = huggingface.read_config(folder)
    weights = huggingface.open_tensors(folder, config)
    tokenizer = tokenizer_record(folder, config.vocab_size)
    with new_dir(destination) as written:
        log(f"writing {num_params(config):,} parameters from {len(weights)} tensors")
        origin: dict[str, Any] = {
            "source": str(source),
            "model_type": _model_type(folder),
            "versions": run_files.versions(),
            **tokenizer,
            **({"allow_nonfinite": True} if allow_nonfinite else {}),
        }
        pieces = _pieces(folder, config, allow_nonfinite)
        save_pieces(written / run_files.CHECKPOINTS, shapes_of(config), pieces, extra={"imported": origin})
        kept = copy_description(folder, written)
        count = keep_carried(folder, config, written)
        if count:
            log(f"keeping {count} tensors that the model does not use, for an export")
        left_out = select_left_out(config, weights)
        if left_out:
            log(f"leaving out {len(left_out)} tensors that the model does not use, such as {left_out[0]!r}")
        atomic_write_text(written / run_files.ORIGIN, json.dumps(origin, indent=1, ensure_ascii=False) + "\n")
        checked, difference = _check(folder, written / run_files.CHECKPOINTS, config, allow_nonfinite, log)
    return ImportedModel(
        source=str(source),
        folder=str(destination),
        model_type=origin["model_type"],
        parameters=num_params(config),
        carried=count,
        kept=kept,
        checked=checked,
        largest_difference=difference,
        seconds=round(time.monotonic() - started, 2),
        left_out=len(left_out),
    )


def _model_type(folder: Path) -> str:
    return str(huggingface.read_json(folder / huggingface.CONFIG).get("model_type", "t5"))


def _pieces(folder: Path, config: ModelConfig, allow_nonfinite: bool) -> Iterator[Piece]:
    shapes = shapes_of(config)
    for place, tensor in huggingface.stream_tensors(folder, config, allow_nonfinite=allow_nonfinite):
        for path, part in zip(place.paths, split(place, tensor, shapes), strict=True):
            yield Piece(path, place.layer, part)


def _check(folder: Path, checkpoints: Path, config: ModelConfig, allow_nonfinite: bool, log: Log) -> tuple[str, float]:
    """Compares what was written with its source: by what the models compute, or number by number."""
    stored = StoredParams(checkpoints)
    if num_params(config) > CHECK_LOGITS_UP_TO or allow_nonfinite:
        log("comparing every tensor with its source")
        worst = 0.0
        for piece in _pieces(folder, config, allow_nonfinite):
            worst = max(worst, value_difference(stored.read(piece.path, piece.layer), piece.values))
        checked = "tensors"
    else:
        log("comparing the logits of a few prompts with those of the source's weights")
        worst = largest_difference(config, stored.read_all(shapes_of(config)), huggingface.load(folder)[1])
        checked = "logits"
    if worst > TOLERANCE:
        raise RuntimeError(f"what was written differs from its source by {worst} ({checked})")
    return checked, worst
