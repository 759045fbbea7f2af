"""Two processes of `flan-jax sweep` train one study: one is killed in the midst of its runs, the other ends what it left.

Nothing waits for a clock: each process says over a pipe how far it is, and stands still until it is told to go on. Three
sweeps of a real model take long; `make test` shows the same with runs that take milliseconds (tests/studies).
"""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from rates_study import rates_study

pytestmark = [pytest.mark.deep, pytest.mark.timeout(1800)]

STUDY = rates_study(0.001, 0.003, 0.01, 0.03, steps=6)

# One process that imports everything once and starts the sweeps by fork, before jax has a device.
FORKS = """
import json, os, signal, sys, warnings
warnings.simplefilter("ignore")
from flan_jax.cli.main import main
from flan_jax.studies import group_executor

own, file, shared, alone = sys.argv[1:]
untold = group_executor.train_group

def sweep(root, stops_at=None):
    '''Begins a sweep; one that stops says so when its first group is at a step, and goes on when it reads a byte.'''
    (told, says), (hears, tells) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid:
        os.close(says)
        os.close(hears)
        return pid, told, tells
    os.close(told)
    os.close(tells)
    waits = [stops_at]

    def train_group(configs, *, on_progress, **named):
        def heard(progress):
            on_progress(progress)
            if waits and waits[0] == progress.step:
                waits.clear()
                os.write(says, b".")
                os.read(hears, 1)
        return untold(configs, on_progress=heard, **named)

    group_executor.train_group = train_group
    code = main(["sweep", "--module_import", own, "--gin_file", file, "--study_dir", root, "--runs_per_group", "2"])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

def end(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

# One after the other to its first stop, so that each has a group, and both are at work at once.
first, told, _ = sweep(shared, stops_at=4)
assert os.read(told, 1) == b"."
second, told, tells = sweep(shared, stops_at=2)
assert os.read(told, 1) == b"."
claims = {}
for name in ("group_0000", "group_0001"):
    (claim,) = [file for file in os.listdir(os.path.join(shared, "claims", name)) if file.endswith(".json")]
    claims[name] = json.load(open(os.path.join(shared, "claims", name, claim)))["pid"]
assert claims == {"group_0000": first, "group_0001": second}, (claims, first, second)
os.kill(first, signal.SIGKILL)
assert end(first) == -signal.SIGKILL
os.write(tells, b".")
assert end(second) == 0
assert end(sweep(alone)[0]) == 0
"""


@pytest.fixture(scope="module")
def studies(
    tmp_path_factory: pytest.TempPathFactory, one_device: dict[str, str], own_tasks: str
) -> tuple[Path, Path, str]:
    """A study that two processes shared, one that was left alone, and what was said."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "shared_tasks.py").write_text(own_tasks)
    (folder / "rates.gin").write_text(STUDY)
    arguments = ["shared_tasks", *(str(folder / name) for name in ("rates.gin", "shared", "alone"))]
    said = folder / "said.txt"
    with said.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", FORKS, *arguments],
            stdout=output, stderr=output, env=one_device, cwd=folder, start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait()
        finally:  # a sweep that stands still would stand for ever
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert code == 0, said.read_text()
    return folder / "shared", folder / "alone", said.read_text()


def test_the_other_takes_over_and_the_table_is_that_of_a_study_left_alone(studies: tuple[Path, Path, str]) -> None:
    shared, alone, said = studies
    ours, theirs = table(shared), table(alone)
    assert [row[:2] for row in ours] == [(f"run_{number:04}", "done") for number in range(4)]
    assert [row[:4] for row in ours] == [row[:4] for row in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one[4:] == pytest.approx(other[4:], rel=1e-5)
    assert len({row[4] for row in ours}) > 1, "the runs differ"
    assert "taking over group_0000 from a process that ended without a word" in said
    assert "taking over group_0001" not in said


def test_the_runs_of_the_killed_process_were_begun_twice_and_the_others_once(
    studies: tuple[Path, Path, str],
) -> None:
    shared, alone, _ = studies
    for root, expected in ((shared, [2, 2, 1, 1]), (alone, [1, 1, 1, 1])):
        with sqlite3.connect(root / "study.sqlite") as database:
            rows = database.execute("SELECT attempts FROM runs ORDER BY run").fetchall()
        assert [attempts for (attempts,) in rows] == expected
    # Each step is logged once, whoever trained it.
    for name in ("run_0000", "run_0003"):
        lines = (shared / "runs" / name / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [2, 4, 6]


def table(root: Path) -> list[tuple]:
    """Names, states and counts of the runs, and then their numbers: the last loss, and every score."""
    with sqlite3.connect(root / "study.sqlite") as database:
        runs = database.execute("SELECT run, state, step, tokens, loss_tokens FROM runs ORDER BY run").fetchall()
        found = []
        for run in runs:
            losses = database.execute("SELECT loss FROM losses WHERE run = ? ORDER BY step, task", run[:1]).fetchall()
            scores = database.execute(
                "SELECT value FROM scores WHERE run = ? AND newest AND value IS NOT NULL ORDER BY suite, metric, kind, cluster, task",
                run[:1],
            ).fetchall()
            assert losses
            assert scores
            found.append((*run[:4], *(loss for (loss,) in reversed(losses)), *(value for (value,) in scores)))
    return found
