"""A run's copy of the folder that its model was read from: configuration, tokenizer and settings, no weights but such
that the model does not use and an export writes as they came.

A run whose kind, sizes and vocabulary are those of a published model (``models/huggingface.gin``) is described by
that model's folder. When it begins to train it copies the description to ``MODEL_DIR/pretrained``; there it is read
again when the folder was moved, deleted, or holds another tokenizer.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.errors import UserError
from flan_jax.experiments.run_folder.fetched_run import model_folder
from flan_jax.files import atomic_dir, atomic_write_text
from flan_jax.models.build import ModelConfig
from flan_jax.models.huggingface import carried
from flan_jax.models.huggingface.reader import carried_tensors, read_config

PRETRAINED = "pretrained"
CONFIG = "config.json"
_RECORD = "kept_from.json"
# What belongs to a model beside its weights.
_KEPT = (
    "config.json", "generation_config.json", "tokenizer*.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "*.model", "*.jinja", "LICENSE*", "NOTICE*",
)  # fmt: skip


def copy_description(folder: Path, destination: Path) -> tuple[str, ...]:
    """Copies what belongs to a model beside its weights; returns the names."""
    kept = sorted({path for pattern in _KEPT for path in folder.glob(pattern) if path.is_file()})
    for path in kept:
        shutil.copyfile(path, destination / path.name)
    return tuple(path.name for path in kept)


def keep_carried(folder: Path, config: ModelConfig, destination: Path) -> int:
    """Copies the tensors that a model does not use and that an export writes as they came; returns their number.

    Args:
        folder: a Hugging Face folder, an import's, or a run's copy.
        config: of its model.
        destination: gets them in a file of their own, unless there are none.
    """
    tensors = carried_tensors(folder, config)
    if tensors:
        carried.write(destination / carried.CARRIED, tensors)
    return len(tensors)


def carried_folder(run: Path) -> Path | None:
    """Finds the folder with the tensors that the model of a run or an import does not use; ``None`` without such."""
    places = (run, run / PRETRAINED)
    return next((place for place in places if (place / carried.CARRIED).is_file()), None)


def save_description(model_dir: str, initial_checkpoint: str, vocabulary: str) -> None:
    """Copies the description of a run's first model into its folder, unless it is there.

    Args:
        model_dir: the run's folder.
        initial_checkpoint: where its weights start; where that says no model, nothing is kept.
        vocabulary: the run's, as it is named.
    """
    if not initial_checkpoint:
        return
    folder, kept = description_folder(initial_checkpoint, model_dir), Path(model_dir) / PRETRAINED
    if folder == kept or not (folder / CONFIG).is_file():
        return
    ours = Path(vocabulary).expanduser() == folder
    record = {
        "folder": initial_checkpoint,
        "vocabulary": vocabulary if ours else "",
        "fingerprint": load_vocabulary(vocabulary).fingerprint() if ours else "",
    }
    if _record(model_dir) == record:
        return
    with atomic_dir(kept) as written:
        copy_description(folder, written)
        keep_carried(folder, read_config(folder), written)
        atomic_write_text(written / _RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def description_folder(initial_checkpoint: str, model_dir: str = "") -> Path:
    """Finds the folder with the ``config.json`` of the model that a run starts from.

    Args:
        initial_checkpoint: a Hugging Face folder, a model of the hub, or a run's folder or address that keeps a description.
        model_dir: the run's own folder, whose copy serves where ``initial_checkpoint`` is gone.

    Raises:
        UserError: there is neither.
    """
    copy = Path(model_dir) / PRETRAINED if _record(model_dir).get("folder") == initial_checkpoint else None
    try:
        folder = model_folder(initial_checkpoint, weights=False)
    except UserError:
        if copy is None:
            raise
        return copy
    for place in (folder, folder / PRETRAINED):
        if (place / CONFIG).is_file():
            return place
    return copy or folder


def description_vocabulary(initial_checkpoint: str, model_dir: str = "") -> str:
    """Returns the name of the vocabulary of a run that takes its model's: the same before and after the folder is gone.

    Raises:
        UserError: as ``description_folder``; or the folder describes no model.
    """
    folder = description_folder(initial_checkpoint, model_dir)
    if not (folder / CONFIG).is_file():
        raise _no_description(initial_checkpoint, folder)
    is_copy = bool(model_dir) and folder == Path(model_dir) / PRETRAINED
    return (is_copy and _record(model_dir)["vocabulary"]) or str(folder)


def _no_description(named: str, folder: Path) -> UserError:
    what = f"INITIAL_CHECKPOINT_PATH {named!r} has no {CONFIG}, from which models/huggingface.gin reads the model"
    if (folder / "adapter_config.json").is_file():
        return UserError(f"{what}: it holds adapters. Name their base model there, and this folder as INITIAL_ADAPTER.")
    if (folder.parent / "manifest.json").is_file():
        return UserError(f"{what}: it lies in the folder of a run. Name that folder, {str(folder.parent)!r}.")
    if (folder / "manifest.json").is_file():
        return UserError(
            f"{what}: it is the folder of a run whose model has a file in models/. Take that file with --gin_file."
        )
    return UserError(f"{what}. Give a Hugging Face folder ({CONFIG} and *.safetensors), or a model of the hub.")


def vocabulary_place(vocabulary: str, model_dir: str) -> str:
    """Finds where a run's vocabulary lies now: where its name says, or in the copy if it is gone from there or another.

    Args:
        vocabulary: as the run names it.
        model_dir: the run's folder.
    """
    record = _record(model_dir)
    if not vocabulary or record.get("vocabulary") != vocabulary:
        return vocabulary
    try:
        same = load_vocabulary(vocabulary).fingerprint() == record["fingerprint"]
    except UserError:
        same = False
    return vocabulary if same else str(Path(model_dir) / PRETRAINED)


def _record(model_dir: str) -> dict[str, Any]:
    """Reads what the copy in a run's folder says of itself; nothing where there is none."""
    path = Path(model_dir) / PRETRAINED / _RECORD
    if not model_dir or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON. Remove its folder: it is made again where the model is there.") from error
    return found if isinstance(found, dict) else {}
