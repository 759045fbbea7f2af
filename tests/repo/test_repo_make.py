"""The commands of a bare machine: which Python is taken, and what is said when there is none."""

import os
import re
import select
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def fake_python(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def create_venv(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the script with ``folder`` as the only place that has a Python."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for tool in ("env", "bash", "dirname"):
        for place in os.environ["PATH"].split(os.pathsep):
            if (Path(place) / tool).exists() and not (tools / tool).exists():
                (tools / tool).symlink_to(Path(place) / tool)
    command = [str(ROOT / "tools/dev/create_venv.sh"), "made", *arguments]
    environment = {"PATH": f"{folder}{os.pathsep}{tools}"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


# Answers the question whether it is suitable with yes, its version, or what it was asked to make.
SUITABLE = 'case "$1" in -c) exit 0;; --version) echo Python 3.x;; -m) echo "$0 $*";; esac'
UNSUITABLE = "exit 1"


def test_takes_the_first_suitable_python(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3.11", UNSUITABLE)
    fake_python(tmp_path, "python3.12", SUITABLE)
    fake_python(tmp_path, "python3", SUITABLE)
    result = create_venv(tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == f"{tmp_path}/python3.12 -m venv made"


def test_takes_the_python_that_is_named(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3.11", SUITABLE)
    fake_python(tmp_path, "mine", SUITABLE)
    result = create_venv(tmp_path, "mine")
    assert result.stdout.splitlines()[-1] == f"{tmp_path}/mine -m venv made"


@pytest.mark.parametrize("arguments", [(), ("mine",)])
def test_says_in_one_line_that_there_is_none(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    fake_python(tmp_path, "python3", UNSUITABLE)
    result = create_venv(tmp_path, *arguments)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "Python 3.11, 3.12 or 3.13" in line
    assert "make PYTHON=" in line


@pytest.mark.parametrize("script", [".ci/run", "tools/dev/create_venv.sh", "tools/dev/check_wheel.sh"])
def test_scripts_can_be_run(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


def test_ci_runs_every_check() -> None:
    script = (ROOT / ".ci/run").read_text()
    for target in (
        "make test",
        "make lint",
        "make types",
        "make layers",
        "make parity-env",
        "make test-parity",
        "make test-wheel",
    ):
        assert f" {target}\n" in script or f" {target} #" in script, f".ci/run does not run `{target}`"
    assert "set -euo pipefail" in script


@pytest.mark.parametrize(
    ("beside", "step", "code", "said"),
    [
        ("echo beside", "echo step", 0, ["=== step", "step", "--- step", "=== peers", "beside", "--- peers", "end"]),
        ("echo beside; exit 3", "echo step", 3, ["=== step", "step", "--- step", "=== peers", "beside"]),
        ("touch begun; sleep 60 & wait", "until [ -e begun ]; do :; done; exit 4", 4, ["=== step"]),
    ],
)
def test_ci_shows_and_ends_what_runs_beside_a_step(tmp_path, beside, step, code, said) -> None:
    """In the order of the steps, and with what it started itself."""
    functions, _, _ = (ROOT / ".ci/run").read_text().partition('\nrm -rf "$VENV"\n')
    steps = '\nbegin_beside peers bash -c "$BESIDE"\nstep step bash -c "$STEP"\ncollect\necho end\n'
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/run").write_text(functions + steps)
    environment = {**os.environ, "BESIDE": beside, "STEP": step}
    alive, held = os.pipe()  # every process that it starts holds one end
    command = ["bash", ".ci/run"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, pass_fds=[held]
    )
    os.close(held)
    with open(alive) as all_ended:
        assert select.select([all_ended], [], [], 20)[0], "something still runs"
    assert done.returncode == code, done.stderr
    assert [" ".join(line.split()[:2]).rstrip(":") for line in done.stdout.splitlines() if line] == said
    assert ("FAILED" in done.stderr) == (code != 0)


@pytest.mark.parametrize("mark", ["parity", "realweights"])
def test_marked_tests_stand_in_the_one_folder_that_is_looked_at(mark: str) -> None:
    """Their targets collect no other: a test elsewhere would never run."""
    assert re.search(f'-o testpaths=tests/{mark} -m "?{mark} ', (ROOT / "Makefile").read_text(encoding="utf-8"))
    marked = [
        path for path in (ROOT / "tests").rglob("*.py") if f"pytest.mark.{mark}" in path.read_text(encoding="utf-8")
    ]
    assert {path.relative_to(ROOT / "tests").parts[0] for path in marked} == {mark}
