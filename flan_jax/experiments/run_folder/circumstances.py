"""Circumstances that a run began in, for its manifest: the revision of the code and the machine."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

_WAIT_S = 10


def code_revision(folder: Path | None = None) -> dict[str, Any]:
    """Finds the git revision of a checkout; ``{}`` where the code is installed from a wheel, or git is missing.

    Args:
        folder: inside the checkout; this package's by default.

    Returns:
        ``commit``, 40 hexadecimal digits, and ``changed``: tracked files of the package differ from it.
    """
    folder = Path(__file__).parents[2] if folder is None else folder
    # Where a wheel lies inside another project's checkout, that project's revision says nothing of this code.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return {}
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return {} if commit is None else {"commit": commit, "changed": bool(changed)}


def hardware() -> dict[str, Any]:
    """Describes the devices that JAX computes on, and the machine of this process."""
    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "device_kind": devices[0].device_kind,
        "devices": len(devices),
        "processes": jax.process_count(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    """The processor's name; its architecture where the system does not tell more."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git(folder: Path, *words: str) -> str | None:
    """Returns what git prints; ``None`` where it is not there or refuses."""
    # Locks are for those who write: a run must not stand in the way of a commit made beside it.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=_WAIT_S, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
