"""The files of a run's folder: their names, what its manifest says, and whether there is a checkpoint."""

import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError
from flan_jax.experiments import renamed
from flan_jax.train.step_folders import step_folders

MANIFEST = "manifest.json"
CONFIG = "config.gin"
MODEL_INFO = "model-info.txt"
CHECKPOINTS = "checkpoints"
METRICS = "metrics.jsonl"
EVENTS = "events"
WEIGHTS = "weights.jsonl"
REPORT = "report.html"
PROFILE = "profile"
VALIDATION = "validation.jsonl"
DIVERGED = "diverged.json"
"""The file that lists the examples of the batches by which a run diverged."""
ORIGIN = "import.json"
"""The file in which imported weights say where they came from."""

_VERSIONED = ("flan-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "pyarrow")


def has_checkpoint(folder: Path) -> bool:
    """Tells whether a checkpoint of any step lies in the run's folder."""
    return bool(step_folders(folder / CHECKPOINTS))


def read_manifest(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Reads the manifest of a run's folder, by the names of today; ``None`` where there is none."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is not JSON (line {error.lineno}). Restore it, or choose another MODEL_DIR."
        ) from error
    except (RecursionError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not JSON. Restore it, or choose another MODEL_DIR.") from error
    if not isinstance(found, dict) or not all(isinstance(found.get(part), dict) for part in ("config", "tasks")):
        raise UserError(
            f"{path} is no description of a run: it has no 'config' and 'tasks'. Restore it, or choose another MODEL_DIR."
        )
    changes = [{**change, "before": renamed.task_table(change["before"])} for change in found.get("changes", [])]
    return {**found, "tasks": renamed.task_table(found["tasks"]), **({"changes": changes} if changes else {})}


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that decide a run's numbers."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _VERSIONED}}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
