"""The weights that a run that trains a part stands on: which they are, and whether they are still the same."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.run_folder import run_files
from flan_jax.experiments.run_folder.fetched_run import model_folder
from flan_jax.models.peft.adapters import PROMPT
from flan_jax.models.peft.config import TuningConfig
from flan_jax.train.step_folders import step_folders

BASE = "base"
"""Under this name a checkpoint's configuration holds what ``base_identity`` says."""
_BLOCK = 1 << 12
_BLOCKS = 64


def base_identity(config: RunConfig) -> dict[str, Any]:
    """Describes, for a run's checkpoints, the weights that they leave out; ``{}`` where they leave out none.

    Raises:
        UserError: the initial checkpoint is not there.
    """
    if not config.tuning.partial:
        return {}
    if not config.initial_checkpoint:
        return {BASE: {"seed": config.seed}}
    try:
        folder = model_folder(config.initial_checkpoint)
    except UserError:
        if not run_files.has_checkpoint(Path(config.model_dir)):
            raise
        raise UserError(
            f"The run in {config.model_dir!r} trained a part of the model in {config.initial_checkpoint!r}, which is not "
            "there any more, and what the run saved is nothing without it. Put that model back where it was."
        ) from None
    base: dict[str, Any] = {"folder": config.initial_checkpoint, "weights": fingerprint(folder)}
    if config.initial_parameters:
        base |= {"parameters": list(config.initial_parameters), "seed": config.seed}
    if config.initial_adapter:
        base["adapter"] = fingerprint(Path(config.initial_adapter).expanduser())
    return {BASE: base}


def check_same_base(saved: Mapping[str, Any], config: RunConfig) -> None:
    """Checks that the weights below a run's trained part are those that it was trained on.

    Args:
        saved: the configuration in a checkpoint, with what ``base_identity`` gave then.
        config: the run.

    Raises:
        UserError: they are others.
    """
    then, now = saved.get(BASE), base_identity(config).get(BASE)
    if then is not None and then != now:
        raise UserError(
            f"The run in {config.model_dir!r} trained a part of the model in {config.initial_checkpoint!r}, whose weights "
            "have changed since; what was trained fits the earlier ones alone. Put those back, or start again in another "
            "MODEL_DIR."
        )


def check_no_soft_prompt(params: Mapping[str, Any] | None, config: RunConfig) -> None:
    """Checks that a run can begin from these weights.

    Raises:
        UserError: they include a prompt, which is nothing without the rest of its own run.
    """
    if params is not None and PROMPT in params:
        raise UserError(
            f"{(config.initial_adapter or config.initial_checkpoint)!r} holds a trained prompt, which a new run cannot take "
            "over. Continue the run that trained it, or begin from the weights that it began from."
        )


def tuning_of(folder: Path) -> tuple[TuningConfig, Mapping[str, Any]]:
    """Reads which part of the model the run in a folder trained, and its configuration; all of it where the folder is no run's."""
    manifest = run_files.read_manifest(folder) or {"config": {}}
    return TuningConfig(**manifest["config"].get("tuning", {})), manifest["config"]


def fingerprint(folder: Path) -> str:
    """Tells one folder of weights from another without reading all of it.

    Of every file the size and the bytes at 64 places spread over it count: a model that was trained further, if only
    a little, differs nearly everywhere.
    """
    digest = hashlib.sha256()
    for name, path in _files(folder):
        size = path.stat().st_size
        digest.update(f"{name}\0{size}\0".encode())
        with path.open("rb") as file:
            for index in range(_BLOCKS if size > _BLOCKS * _BLOCK else 1):
                file.seek(index * (size - _BLOCK) // (_BLOCKS - 1) if index else 0)
                digest.update(file.read(_BLOCK if size > _BLOCKS * _BLOCK else -1))
    return digest.hexdigest()[:16]


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of weights: the newest checkpoint of a run, or a folder's safetensors."""
    checkpoints = folder / run_files.CHECKPOINTS
    paths = list(folder.glob("*.safetensors"))
    steps = step_folders(checkpoints)
    if steps:
        newest = steps[max(steps)]
        paths = [Path(root, name) for root, _, names in os.walk(newest / "state") for name in names]
    for path in sorted(paths):
        yield path.relative_to(folder).as_posix(), path
