"""A study is brought to its end: by one process, by one that is killed again and again, by two, and past runs that fail."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from toy_study import STEPS, Heard, ToyExecutor, number_after, toy_plans, toy_study

from flan_jax.errors import UserError
from flan_jax.experiments.run_folder.run_lock import RunHeldError
from flan_jax.files import WritingError, writing
from flan_jax.studies import runner
from flan_jax.studies.claims import Claims
from flan_jax.studies.database import database_of
from flan_jax.studies.runner import SweepResult, sweep
from flan_jax.studies.study_dir import StudyDir
from flan_jax.train.finite import DivergedError
from flan_jax.train.loop import Preempted

# One process that imports everything once and starts others by fork, which takes no time.
FORKS = """
import os, random, signal, sys, time, warnings
from pathlib import Path
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[2])
from toy_study import Heard, ToyExecutor, toy_plans, toy_study
from flan_jax.studies.claims import Claims
from flan_jax.studies.database import database_of
from flan_jax.studies.runner import sweep

def child(root):
    pid = os.fork()
    if pid:
        return pid
    study = toy_study(root, toy_plans(11))
    with Claims(study.claims) as claims:
        sweep(study, ToyExecutor(study, size=3, step_seconds=0.004), listener=Heard(), selected=[p.name for p in study.plans],
              retries=0, claims=claims, store=lambda names: database_of(study).update(study, claims, names))
    os._exit(0)

def end(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

killed_study, shared_study = Path(sys.argv[1]), Path(sys.argv[3])
log = killed_study / "steps.log"
moments, killed = random.Random(4), 0
while killed < 10:
    before = log.stat().st_size if log.exists() else 0
    pid = child(killed_study)
    while killed % 2 and (log.stat().st_size if log.exists() else 0) == before:
        time.sleep(0.001)  # half of the kills come once it is at work
    time.sleep(moments.uniform(0.0, 0.02 if killed % 2 else 0.08))
    os.kill(pid, signal.SIGKILL)
    assert end(pid) == -signal.SIGKILL, "it came to its end before it was killed ten times"
    killed += 1
assert end(child(killed_study)) == 0
toy_study(shared_study, toy_plans(11))
assert [end(pid) for pid in [child(shared_study), child(shared_study)]] == [0, 0]
"""


def swept(study: StudyDir, executor: ToyExecutor, heard: Heard | None = None, **given: Any) -> SweepResult:
    with Claims(study.claims) as claims:
        return sweep(
            study,
            executor,
            listener=heard or Heard(),
            selected=given.pop("selected", names(study)),
            retries=given.pop("retries", 0),
            claims=claims,
            store=lambda names: database_of(study).update(study, claims, names) and None,
        )


def names(study: StudyDir) -> list[str]:
    return [plan.name for plan in study.plans]


def tables(study: StudyDir) -> dict[str, list[dict[str, Any]]]:
    """All that a study's database says but for times, places and the number of starts."""
    database = database_of(study)
    columns = "run, number, replicate, state, failures, reason, step, steps, evaluated_step, tokens, loss_tokens, seconds, digest"
    found = {"runs": database.rows(f"SELECT {columns} FROM runs ORDER BY run")}
    for table in ("levels", "weights", "scores", "losses", "best_runs", "groups"):
        found[table] = sorted(database.rows(f"SELECT * FROM {table}"), key=repr)
    return found


def taken(study: StudyDir) -> Counter[tuple[str, int]]:
    lines = [line.split() for line in (study.root / "steps.log").read_text().splitlines()]
    return Counter((name, int(step)) for name, step, _ in lines)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> StudyDir:
    study = toy_study(tmp_path_factory.mktemp("undisturbed") / "study", toy_plans(11))
    swept(study, ToyExecutor(study, size=3))
    return study


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyDir, StudyDir]:
    """A study that was killed ten times, and one that two processes ran."""
    roots = [tmp_path_factory.mktemp("disturbed") / name for name in ("killed", "shared")]
    here = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", FORKS, str(roots[0]), here, str(roots[1])], check=True, timeout=120)
    return toy_study(roots[0], toy_plans(11)), toy_study(roots[1], toy_plans(11))


def test_every_run_is_done_once_in_groups(undisturbed: StudyDir) -> None:
    assert taken(undisturbed) == {(plan.name, step): 1 for plan in undisturbed.plans for step in range(1, STEPS + 1)}
    best = database_of(undisturbed).rows("SELECT run, objective, score FROM best_runs")
    scores = {plan.name: number_after(plan.options["seed"], STEPS) % 1000 / 1000 for plan in undisturbed.plans}
    assert [row["run"] for row in best] == sorted(scores, key=lambda name: -scores[name])
    assert [row["objective"] for row in best] == pytest.approx(sorted(scores.values(), reverse=True))
    heard, executor = Heard(), ToyExecutor(undisturbed, size=3)
    assert swept(undisturbed, executor, heard) == SweepResult({"done": 11})
    assert (executor.prepared, executor.trained, heard.begun) == ([], [], []), "what is done is skipped"


def test_killed_ten_times_it_ends_with_the_same_table(
    undisturbed: StudyDir, disturbed: tuple[StudyDir, StudyDir]
) -> None:
    study = disturbed[0]
    assert tables(study) == tables(undisturbed)
    again = taken(study)
    # A step is saved when it is taken: a kill costs its group one step at most.
    assert all(again[name, step] >= 1 for name in names(study) for step in range(1, STEPS + 1))
    assert sum(again.values()) <= 11 * STEPS + 10 * 3
    assert any(study.record(plan.name).attempts[1:] for plan in study.plans), "no kill came while a run was trained"


def test_rows_that_a_kill_left_out_are_written_by_the_next_sweep(undisturbed: StudyDir, tmp_path: Path) -> None:
    study = toy_study(tmp_path / "study", toy_plans(11))
    with Claims(study.claims) as claims:
        sweep(study, ToyExecutor(study, size=3), listener=Heard(), selected=names(study), retries=0, claims=claims)
    executor = ToyExecutor(study, size=3)
    swept(study, executor)
    assert executor.trained == [], "every run was done: only its rows were missing"
    assert tables(study) == tables(undisturbed)


def test_two_sweeps_share_the_work(undisturbed: StudyDir, disturbed: tuple[StudyDir, StudyDir]) -> None:
    study = disturbed[1]
    assert tables(study) == tables(undisturbed)
    assert set(taken(study).values()) == {1}
    assert len({line.split()[2] for line in (study.root / "steps.log").read_text().splitlines()}) == 2


def test_the_database_is_made_anew_from_the_folders(undisturbed: StudyDir) -> None:
    before = tables(undisturbed)
    for damage in (b"no database at all, whatever its name says" * 30, b"", None):
        if damage is None:
            undisturbed.database.unlink()
        else:
            undisturbed.database.write_bytes(damage)
        with Claims(undisturbed.claims) as claims:
            assert database_of(undisturbed).update(undisturbed, claims) == []
        assert tables(undisturbed) == before


def test_a_failed_run_is_tried_again_alone_and_then_left(tmp_path: Path) -> None:
    def hinder(plan: Any, step: int) -> None:
        if plan.name == "run_0001" and step == 2:
            raise RuntimeError("the device fell over")

    study = toy_study(tmp_path / "study", toy_plans(4))
    executor = ToyExecutor(study, size=2, hinder=hinder)
    assert swept(study, executor, retries=2) == SweepResult({"done": 3, "failed": 1})
    pair, bad = ("run_0000", "run_0001"), ("run_0001",)
    assert executor.trained == [pair, ("run_0002", "run_0003"), ("run_0000",), bad, bad]
    reason = "RuntimeError: the device fell over (test_studies_runner.py, line"
    assert study.record("run_0001").reason.startswith(reason)
    database = database_of(study)
    assert [dict(row, reason="") for row in database.rows("SELECT * FROM failed_runs")] == [
        {"run": "run_0001", "state": "failed", "attempts": 3, "failures": 3, "step": 2 - 1, "reason": ""}
    ]
    assert list(database.left_out()) == ["run_0001"]
    assert database.run_table().runs == ("run_0000", "run_0002", "run_0003")
    again = ToyExecutor(study)
    assert swept(study, again, retries=2).failed == 1
    assert again.trained == [], "it was tried as often as it may be"
    assert swept(study, again, retries=3) == SweepResult({"done": 4})
    assert database.left_out() == {}


def test_a_diverged_run_is_marked_and_not_tried_again(tmp_path: Path) -> None:
    def hinder(plan: Any, step: int) -> None:
        if plan.name == "run_0000" and step == 3:
            raise DivergedError(3, "the loss is nan")

    study = toy_study(tmp_path / "study", toy_plans(2))
    executor = ToyExecutor(study, size=1, hinder=hinder)
    assert swept(study, executor, retries=5) == SweepResult({"done": 1, "diverged": 1})
    assert len(executor.trained) == 2
    assert (
        database_of(study).left_out()["run_0000"].startswith("diverged: Training diverged at step 3: the loss is nan.")
    )


@pytest.mark.parametrize("stop", [Preempted(2, signal.SIGTERM, saved=True), KeyboardInterrupt()])
def test_a_signal_stops_the_study_and_it_goes_on_with_the_same_group(stop: BaseException, tmp_path: Path) -> None:
    def hinder(plan: Any, step: int) -> None:
        if step == 3 and stops:
            raise stops.pop()

    stops = [stop]
    study = toy_study(tmp_path / "study", toy_plans(5))
    executor = ToyExecutor(study, size=2, hinder=hinder)
    with pytest.raises(type(stop)):
        swept(study, executor)
    assert study.record("run_0001").state() == "interrupted"
    assert database_of(study).rows("SELECT run, state, step FROM unfinished_runs")[0] == {
        "run": "run_0000", "state": "interrupted", "step": 2,
    }  # fmt: skip
    # With runs that are selected otherwise, the group stays as its checkpoint has it.
    assert swept(study, executor, selected=["run_0001", "run_0004"]) == SweepResult({"done": 2})
    assert executor.trained[1:] == [("run_0000", "run_0001"), ("run_0004",)]
    assert set(taken(study).values()) == {1}
    assert study.record("run_0001").failures == 0


@pytest.mark.parametrize("said", [True, False])
def test_a_full_disk_ends_the_sweep_and_nothing_is_lost(said: bool, tmp_path: Path) -> None:
    def hinder(plan: Any, step: int) -> None:
        if step == 2 and full:
            with writing(study.root / "checkpoint") if said else contextlib.nullcontext():
                raise full.pop()

    full = [OSError(errno.ENOSPC, "No space left on device")]
    study = toy_study(tmp_path / "study", toy_plans(2))
    executor = ToyExecutor(study, hinder=hinder)
    with pytest.raises(WritingError if said else OSError, match="there is no space left" if said else "No space left"):
        swept(study, executor)
    assert swept(study, executor) == SweepResult({"done": 2})
    assert set(taken(study).values()) == {1}
    assert study.record("run_0000").failures == 0


def test_a_run_that_another_process_writes_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hinder(plan: Any, step: int) -> None:
        if plan.name == "run_0000" and held:
            raise RunHeldError(held.pop())

    monkeypatch.setattr(runner, "_HELD_S", 0.2)
    held = ["Another run is writing into 'runs/run_0000'."]
    study = toy_study(tmp_path / "study", toy_plans(2))
    executor, heard = ToyExecutor(study, size=1, hinder=hinder), Heard()
    assert swept(study, executor, heard) == SweepResult({"done": 2})
    assert executor.trained == [("run_0000",), ("run_0001",), ("run_0000",)]
    assert heard.lines == ["Another run is writing into 'runs/run_0000'. The others go on."]
    assert study.record("run_0000").failures == 0


def test_unlike_runs_are_not_grouped(tmp_path: Path) -> None:
    plans = [plan for shape in ("wide", "deep") for plan in toy_plans(2, shape=shape)]
    plans = [type(plan)(place, f"run_{place:04}", options=plan.options) for place, plan in enumerate(plans)]
    study = toy_study(tmp_path / "study", plans)
    executor = ToyExecutor(study, size=8)
    swept(study, executor)
    assert executor.trained == [("run_0000", "run_0001"), ("run_0002", "run_0003")]


def test_groups_are_of_about_one_size(tmp_path: Path) -> None:
    study = toy_study(tmp_path / "study", toy_plans(9))
    executor = ToyExecutor(study, size=8)
    swept(study, executor)
    assert [len(runs) for runs in executor.trained] == [5, 4], "so that they share a program"


def test_a_group_that_was_taken_over_is_left_to_its_new_owner(tmp_path: Path) -> None:
    """The process was silent for too long; what it did since is not noted."""

    def hinder(plan: Any, step: int) -> None:
        if step == STEPS and len(executor.trained) == 1:
            newer = study.claims / "group_0000" / "000002.json"
            newer.write_text(json.dumps({"host": "elsewhere", "boot": "b", "pid": 1}))
            os.utime(newer, (time.time() - 601,) * 2)  # it fell silent in its turn

    study = toy_study(tmp_path / "study", toy_plans(2))
    executor, heard = ToyExecutor(study, size=2, hinder=hinder), Heard()
    assert swept(study, executor, heard) == SweepResult({"done": 2})
    assert heard.lines == [
        "group_0000 was taken over by another process. It was silent for too long, and its results are left to that one."
    ]
    assert [attempt.outcome for attempt in study.record("run_0001").attempts] == ["", "done"]


def test_no_runs(tmp_path: Path) -> None:
    study = toy_study(tmp_path / "study", toy_plans(1))
    with pytest.raises(UserError, match="No runs are selected"):
        swept(study, ToyExecutor(study), selected=[])
