"""Carries wheels to a machine without a network: downloads what is pinned into a folder, and installs from that alone."""

import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError, unknown

PINS = Path(__file__).parents[2] / "requirements" / "run.txt"
MANIFEST = "manifest.json"
PLUGINS = {"12": "jax-cuda12-plugin", "13": "jax-cuda13-plugin"}
LEAST = (
    "absl-py", "etils", "flatbuffers", "flax", "jax", "jaxlib", "jaxtyping", "markdown-it-py", "mdurl", "ml-dtypes",
    "msgpack", "numpy", "opt-einsum", "optax", "pygments", "pyyaml", "rich", "scipy", "treescope", "typing-extensions",
    "wadler-lindig",
)  # fmt: skip
"""What the parts import; a test holds them to it."""
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def pack(folder: Path, *, python: str, cuda: str, least: bool, without: Sequence[str], archive: bool) -> dict[str, Any]:
    """Downloads the pinned packages and JAX's plugin for GPUs into an empty folder.

    Args:
        folder: for the wheels and `manifest.json`.
        python: an interpreter of the version that the device's machine has: wheels and pins depend on it.
        cuda: major version.
        least: of the pinned packages, only what the parts import.
        without: packages that are left out, of the plugin's too.
        archive: a tar file beside the folder.

    Returns:
        The manifest: `python`, `jax`, `left_out`, `bytes`, `wheels` (name → bytes).

    Raises:
        UserError: the folder is not empty, pip fails, or a name of `without` is none that would be packed.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: give a new folder for the wheels.")
    folder.mkdir(parents=True, exist_ok=True)
    left_out = {_canonical(name) for name in without}
    pinned = _requirements(least, left_out)
    given = folder / "requirements.txt"
    given.write_text(pinned)
    _pip(python, "download", "--no-deps", "--require-hashes", "-r", str(given), "--dest", str(folder))
    given.unlink()
    jax = _version_of("jax", folder)
    plugin = _resolved(python, f"{PLUGINS[cuda]}[with-cuda]=={jax}")
    known = {_canonical(name) for name, _ in _PIN.findall(PINS.read_text())} | set(plugin)
    for name in sorted(left_out - known):
        raise unknown("package", name, known, remedy="--without takes packages that would be packed.")
    wanted = [f"{name}=={version}" for name, version in plugin.items() if name not in left_out]
    _pip(python, "download", "--no-deps", "--dest", str(folder), *wanted)
    wheels = {path.name: path.stat().st_size for path in sorted(folder.glob("*.whl"))}
    version = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=True
    )
    manifest = {
        "python": version.stdout.strip(), "jax": jax, "cuda": cuda, "least": least, "left_out": sorted(left_out),
        "bytes": sum(wheels.values()), "wheels": wheels,
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    if archive:
        with tarfile.open(folder.with_name(f"{folder.name}.tar"), "w") as stream:
            stream.add(folder, folder.name)
    return manifest


def install(folder: Path, environment: Path) -> str:
    """Makes a virtual environment with the wheels of a folder, and of nothing else; returns its interpreter.

    Raises:
        UserError: there is no manifest, this Python is of another version, or the environment cannot be made.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except OSError as error:
        raise UserError(f"{folder} has no {MANIFEST}: give the folder that `device_check.py pack` made.") from error
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if manifest["python"] != own:
        raise UserError(
            f"The wheels of {folder} are for Python {manifest['python']}, and this is {own}: run this with a Python "
            f"{manifest['python']}, or pack again with --python of a Python {own}."
        )
    missing = [name for name in manifest["wheels"] if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} lacks {missing[0]} of its manifest ({len(missing)} in all): copy the folder again.")
    python = str(environment / "bin" / "python")
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], capture_output=True, text=True)
    if made.returncode:
        raise UserError(
            f"{sys.executable} could not make the virtual environment {environment}: "
            f"{(made.stdout + made.stderr).strip()[-300:]}"
        )
    wheels = [str(folder / name) for name in manifest["wheels"]]
    _pip(python, "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", *wheels)
    return python


def _requirements(least: bool, left_out: set[str]) -> str:
    """The lines of the lock file, each with its hashes, without what is not wanted."""
    blocks = re.split(r"\n(?=[A-Za-z0-9])", PINS.read_text())
    wanted = {_canonical(name) for name in LEAST}
    kept = []
    for block in blocks:
        found = _PIN.match(block)
        if found is None:
            continue
        name = _canonical(found[1])
        if name not in left_out and (not least or name in wanted):
            kept.append(block.rstrip())
    return "\n".join(kept) + "\n"


def _resolved(python: str, requirement: str) -> dict[str, str]:
    """Name → version of all that pip would install for a requirement."""
    options = ("--dry-run", "--ignore-installed", "--only-binary=:all:", "--quiet", "--report", "-")
    report = json.loads(_pip(python, "install", *options, requirement))
    return {_canonical(each["metadata"]["name"]): each["metadata"]["version"] for each in report["install"]}


def _version_of(package: str, folder: Path) -> str:
    (wheel,) = (path for path in folder.glob("*.whl") if _canonical(path.name.split("-")[0]) == package)
    return wheel.name.split("-")[1]


def _pip(python: str, command: str, *arguments: str) -> str:
    only = ["--only-binary=:all:"] if command == "download" else []
    done = subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", command, *only, *arguments], capture_output=True,
        text=True,
    )  # fmt: skip
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise UserError(f"pip {command} failed: {' '.join(said)[-500:] or done.stderr.strip()[-500:]}")
    return done.stdout


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
