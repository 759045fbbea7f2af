"""A run's folder, MODEL_DIR: what it says of itself, and the refusal to mix two runs in one."""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flan_jax.errors import UserError
from flan_jax.eval.results import saved_steps, step_folder
from flan_jax.experiments.batches import DataChange, Table
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import RunData
from flan_jax.experiments.run_folder.circumstances import code_revision, hardware
from flan_jax.experiments.run_folder.run_files import (
    CHECKPOINTS,
    CONFIG,
    MANIFEST,
    MODEL_INFO,
    ORIGIN,
    read_manifest,
    versions,
)
from flan_jax.experiments.run_folder.run_identity import check_same_config
from flan_jax.experiments.weights.base_vocabulary import vocabulary_record
from flan_jax.files import atomic_write_text
from flan_jax.models.ops.quantized import is_quantized, whole_shape
from flan_jax.models.peft.adapters import counts, split
from flan_jax.models.peft.config import TuningConfig
from flan_jax.tasks.user_modules import imported_modules
from flan_jax.train.tiers.tiered_checkpointer import newest_saved


def check_same_run(config: RunConfig) -> Path:
    """Returns the run's folder, which is not there yet or belongs to this very run.

    Raises:
        UserError: the folder holds a run with another configuration; the first differences are named.
    """
    folder = Path(config.model_dir)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"MODEL_DIR {str(folder)!r} is a file. Name a folder.")
    found = read_manifest(folder)
    if found is not None and not is_unsaved(folder):
        check_same_config(found["config"], config, f"MODEL_DIR {str(folder)!r} holds")
    return folder


def check_writable(folder: Path, remedy: str = "Choose a folder you may write to.") -> None:
    """Refuses, before any work is done, a run's folder that takes no files.

    Raises:
        UserError: it, or what it would be made in, may only be read.
    """
    there = next((path for path in (folder, *folder.absolute().parents) if path.exists()), folder)
    if there.is_dir() and not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"MODEL_DIR {str(folder)!r} may only be read. {remedy}")


def create(folder: Path) -> None:
    """Makes the run's folder where it is not there; only when all that could be refused was checked.

    Raises:
        UserError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"MODEL_DIR {str(folder)!r} cannot be made: {error.strerror}. Choose a folder you may write to."
        ) from error


def is_unsaved(folder: Path) -> bool:
    """Tells whether a training in the folder ended before there was anything to keep: no checkpoint, no results."""
    began = (folder / MANIFEST).is_file() and (folder / CHECKPOINTS).is_dir()
    return began and newest_saved(folder / CHECKPOINTS) is None and not any(saved_steps(folder))


def forget_unsaved(folder: Path) -> None:
    """Removes what such a training wrote of itself, so that a corrected one may begin in its place."""
    if is_unsaved(folder):
        for name in (MANIFEST, CONFIG, MODEL_INFO):  # the first says that the others are whole
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(step_folder(folder, 0), ignore_errors=True)


def check_same_data(folder: Path, data: RunData, *, accept: bool = False) -> DataChange:
    """Compares a run's tasks with those of its last start, and refuses a change that is not asked for.

    Args:
        folder: the run's.
        data: its data as it is now.
        accept: a change is asked for.

    Raises:
        UserError: a task was added, removed, altered or weighted anew, and that was not asked for.
    """
    found = None if is_unsaved(folder) else read_manifest(folder)
    # Sampling reads the weights to the bit, so a changed last digit is a changed run.
    ours = task_table(data)
    trained_on = {} if found is None else found["tasks"]
    change = DataChange.between(trained_on or ours, ours)
    if change and not accept:
        raise UserError(
            f"MODEL_DIR {str(folder)!r} was trained on other data ({change}). Restore the data, start again in another "
            "MODEL_DIR, or go on with the new data by --gin.run.on_data_change=\"'accept'\"."
        )
    return change


def earlier_tables(folder: Path) -> list[Table]:
    """Reads the tables of tasks that a run had, the newest first."""
    found = read_manifest(folder)
    if found is None:
        return []
    return [found["tasks"], *(change["before"] for change in reversed(found.get("changes", [])))]


def record_change(folder: Path, data: RunData, *, step: int) -> None:
    """Writes into the manifest that from ``step`` on the run draws from the tasks as they are now."""
    found = read_manifest(folder)
    assert found is not None
    ours = task_table(data)
    change = DataChange.between(found["tasks"], ours)
    if change:
        record = {"step": step, **dataclasses.asdict(change), "before": found["tasks"]}
        manifest = {**found, "tasks": ours, "changes": [*found.get("changes", []), record]}
        atomic_write_text(folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def write_description(
    folder: Path,
    config: RunConfig,
    data: RunData,
    *,
    operative: str,
    params: Mapping[str, Any],
    mesh: Mapping[str, Any] | None = None,
) -> None:
    """Writes ``manifest.json``, ``config.gin`` and ``model-info.txt``, once, when a run begins.

    Where weights from elsewhere were measured in the folder first, the manifest has no tasks; it gets those of the training.
    """
    found = read_manifest(folder)
    if found is not None and (found["tasks"] or not data.train):
        return
    if operative:
        atomic_write_text(folder / CONFIG, operative)
    atomic_write_text(folder / MODEL_INFO, model_info(params, config.tuning))
    manifest = {
        "mixture": data.mixture.name,
        "config": config.identity(),
        "tasks": task_table(data),
        "vocabulary": vocabulary_record(data.vocabulary),
        "suites": {
            suite.name: {
                "held_out": suite.held_out,
                "split": suite.split,
                "tasks": [task.name for task in suite.tasks],
            }
            for suite in data.suites
        },
        "held_out_clusters": sorted({cluster for suite in data.suites if suite.held_out for cluster in suite.clusters}),
        "dropped": {found.task: found.reason for found in data.mixture.dropped},
        **({"started_from": _origin(config)} if config.initial_checkpoint else {}),
        **({"modules": list(imported_modules())} if imported_modules() else {}),
        "versions": versions(),
        "code": code_revision(),
        "hardware": hardware(),
        **({"mesh": dict(mesh)} if mesh else {}),
    }
    # Last, since its presence says that the description is whole.
    atomic_write_text(folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def _origin(config: RunConfig) -> dict[str, Any]:
    """Describes what a run's first weights were: the folder, and what an import wrote of where they came from."""
    record = Path(config.initial_checkpoint).expanduser() / ORIGIN
    imported = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    return {"folder": config.initial_checkpoint, **imported}


def task_table(data: RunData) -> dict[str, Any]:
    """Tabulates a run's training tasks as its manifest has them: plain JSON values by name."""
    specs = {task.name: task for task in data.mixture.train_tasks}
    return {
        task.name: {
            "cluster": specs[task.name].cluster,
            "weight": data.weights[task.name],
            **({"curriculum": data.curriculum[task.name]} if data.curriculum else {}),
            "examples": len(task),
            "fingerprint": task.fingerprint,
            "templates": list(specs[task.name].drawn_templates),
        }
        for task in data.train
    }


def model_info(params: Mapping[str, Any], tuning: TuningConfig | None = None) -> str:
    """Lists the parameters, one a line (path, shape, type, count), and the total, as T5X's model-info.txt has them.

    Where a part is trained, the lines say which, and the total says how much it is.
    """
    tuning = tuning or TuningConfig()
    rows = []
    trained, frozen = split(params, tuning)
    for tree, mark in ((trained, "  trained"), (frozen, "  frozen")):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_quantized):
            name, shape = "/".join(str(getattr(key, "key", key)) for key in path), whole_shape(leaf)
            kept = leaf.format if is_quantized(leaf) else leaf.dtype
            line = f"{name:<60} {shape!s:<24} {kept!s:<10} {int(np.prod(shape)):>14,}"
            rows.append(line + (mark if tuning.partial else ""))
    numbers = counts(trained, frozen)
    total = [f"Parameters in total: {numbers.total:,}"]
    if tuning.partial:
        total += [f"Trained of them: {numbers.trained:,} ({numbers.share:.3%})"]
    return "\n".join([*rows, "", *total, ""])
