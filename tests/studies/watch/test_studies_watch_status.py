"""The state of a study that others work at, from its files alone; and a process that hangs is ended."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from toy_study import STEPS, Heard, ToyExecutor, toy_plans, toy_study

from flan_jax.studies.claims import Claims
from flan_jax.studies.runner import sweep
from flan_jax.studies.study_dir import StudyDir
from flan_jax.studies.watch.status import study_status, worker_json, worker_line

HANGS = """
import sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from toy_study import Heard, ToyExecutor, toy_plans, toy_study
from flan_jax.studies.claims import Claims
from flan_jax.studies.runner import sweep
study = toy_study(Path(sys.argv[1]), toy_plans(3))
hang = lambda plan, step: threading.Event().wait() if step == 1 else None
with Claims(study.claims) as claims:
    sweep(study, ToyExecutor(study, hinder=hang), listener=Heard(), selected=["run_0000", "run_0001"], retries=1,
          claims=claims, stalled_after_s=0.3)
"""


def at_work(study: StudyDir, group: str, runs: list[str], *, step: int, age_s: float) -> None:
    """What a process of another machine leaves in the folder while it trains a group."""
    claim = study.claims / group / "000001.json"
    claim.parent.mkdir(parents=True)
    claim.write_text(json.dumps({"host": "elsewhere", "boot": "b", "pid": 7, "started": "1", "since": "noon"}))
    os.utime(claim, (time.time() - age_s,) * 2)
    for name in runs:
        study.note(name, study.record(name).began(group))
        ToyExecutor(study).begin(study.plan(name))
        for number in range(1, step + 1):
            ToyExecutor(study).log_step(study.plan(name), number, number)


def test_who_works_at_what(tmp_path: Path) -> None:
    study = toy_study(tmp_path / "study", toy_plans(6))
    names = [plan.name for plan in study.plans]
    assert study_status(study, names).workers == ()
    study.note("run_0005", study.record("run_0005").began("group_0009").ended("failed", reason="it fell over"))
    study.note("run_0004", study.record("run_0004").began("group_0008").ended("done", wall_seconds=40.0))
    at_work(study, "group_0000", ["run_0000", "run_0001"], step=STEPS // 4, age_s=20)
    with (study.model_dir("run_0000") / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99')  # a line that is being written
    at_work(study, "group_0001", ["run_0002"], step=0, age_s=601)  # its owner fell silent
    before = sorted(study.root.rglob("*"))
    status = study_status(study, names)
    assert [state.state for state in status.states.values()] == [
        "running", "running", "interrupted", "pending", "done", "failed",
    ]  # fmt: skip
    (worker,) = status.workers
    found = worker_json(worker)
    assert 20 <= found.pop("heartbeat_seconds_ago") < 600
    assert found == {
        "host": "elsewhere", "pid": 7, "since": "noon", "work": "group_0000", "runs": ["run_0000", "run_0001"],
        "step": STEPS // 4, "steps": STEPS,
    }  # fmt: skip
    line = worker_line(worker)
    assert line.startswith(f"process 7 on elsewhere: group_0000 (run_0000, run_0001), step {STEPS // 4}/{STEPS}, last")
    # 40 s a run: two have three quarters before them, two all of it, and one process is at work.
    assert status.seconds_left == 40.0 * (2 * 0.75 + 2)
    assert sorted(study.root.rglob("*")) == before, "nothing is written"


def test_who_prepares_is_at_work(tmp_path: Path) -> None:
    study = toy_study(tmp_path / "study", toy_plans(1))
    with Claims(study.claims) as claims, claims.holding("prepare"):
        (worker,) = study_status(study, ["run_0000"]).workers
    assert (worker.owner.pid, worker.work, worker.runs, worker.progress) == (os.getpid(), "prepare", (), None)


def test_a_group_that_hangs_fails_and_ends_its_process(tmp_path: Path) -> None:
    root = tmp_path / "study"
    hung = subprocess.run([sys.executable, "-c", HANGS, str(root), str(Path(__file__).parents[1])], timeout=120)
    assert hung.returncode == 75
    study = toy_study(root, toy_plans(3))
    assert study.record("run_0001").failures == 1
    assert study.record("run_0001").reason.endswith("the process was ended, as it hung")
    executor = ToyExecutor(study)
    with Claims(study.claims) as claims:
        selected = [plan.name for plan in study.plans]
        result = sweep(study, executor, listener=Heard(), selected=selected, retries=1, claims=claims)
    assert result.states == {"done": 3}
    assert executor.trained == [("run_0002",), ("run_0000",), ("run_0001",)], "what hung is tried again, alone"
