"""The table of a study: who is shown where there is no room for all, what a run came to, and how long the rest will take."""

import dataclasses
from pathlib import Path

import pytest
from toy_study import STEPS, toy_plans, toy_results, toy_study

from flan_jax.eval.results import write_results
from flan_jax.studies.claims import Owner
from flan_jax.studies.executor import RunProgress
from flan_jax.studies.live_table import Score, counted, counts, levels, objective_of, score_of, seconds_left, table
from flan_jax.studies.objectives import parse_objective
from flan_jax.studies.run_records import RunRecord
from flan_jax.studies.run_states import RunState

DONE = RunRecord().began("group_0000").ended("done", step=STEPS, wall_seconds=10.0)
FAILED = RunRecord().began("group_0000").ended("failed", reason="the device fell over")
BEGUN = RunRecord().began("group_0000")
NAMES = [plan.name for plan in toy_plans(6)]


def owner(pid: int) -> Owner:
    return Owner("here", pid, "noon", 1.0)


STATES = {
    NAMES[0]: RunState(DONE, "done"),
    NAMES[1]: RunState(FAILED, "failed"),
    NAMES[2]: RunState(BEGUN, "running", owner(1)),
    NAMES[3]: RunState(RunRecord(), "pending"),
    NAMES[4]: RunState(RunRecord(), "pending"),
    NAMES[5]: RunState(RunRecord(), "pending"),
}
PROGRESS = {NAMES[2]: RunProgress(2, 8, {NAMES[2]: 1.25})}


def test_the_table(tmp_path: Path) -> None:
    study = toy_study(tmp_path / "study", toy_plans(6))
    lines = table(study, STATES, NAMES[:4], scores={NAMES[0]: Score(8, 0.4321, (0.5, 0.44, 0.56))}, progress=PROGRESS)
    assert lines == [
        "run       state    step  loss   objective  score               levels",
        "run_0000  done     8            0.4321     50.0% [44.0, 56.0]  share=0",
        "run_0001  failed                                               the device fell over",
        "run_0002  running  2/8   1.250                                 share=0.2",
        "run_0003  pending                                              share=0.3",
    ]
    short = table(study, STATES, NAMES, scores={}, progress=PROGRESS, most=3)
    assert [line.split()[0] for line in short] == ["run", "run_0001", "run_0002", "…"], "those at work and in trouble"
    assert short[-1] == "… and 4 more"


def test_counts() -> None:
    found = counts(STATES, NAMES)
    assert found == {"pending": 3, "running": 1, "failed": 1, "done": 1}
    assert counted(found) == "3 pending, 1 running, 1 failed, 1 done"


def test_the_time_that_is_left() -> None:
    # Ten seconds a run: three quarters of one that runs, and three others.
    assert seconds_left(STATES, NAMES, PROGRESS, 99.0) == pytest.approx(37.5)
    two = {**STATES, NAMES[3]: RunState(BEGUN, "running", owner(2))}
    assert seconds_left(two, NAMES, PROGRESS, 99.0) == pytest.approx(37.5 / 2), "two processes share it"
    none_done = {name: state for name, state in STATES.items() if state.state != "done"}
    # A quarter of a run took five seconds.
    assert seconds_left(none_done, NAMES[1:], PROGRESS, 5.0) == pytest.approx(20 * 3.75)
    assert seconds_left(none_done, NAMES[1:], {}, 5.0) is None


def test_what_a_run_came_to(tmp_path: Path) -> None:
    study = toy_study(tmp_path / "study", toy_plans(1))
    objective = parse_objective("held_out/choice_probability")
    assert score_of(study, "run_0000", objective) is None
    write_results(study.model_dir("run_0000"), toy_results(0.4))
    found = score_of(study, "run_0000", objective)
    assert found is not None
    assert (found.step, found.objective, found.score) == (STEPS, pytest.approx(0.4), (0.5, 0.44, 0.56))
    for text, value in {"c1": 0.4, "t1": 0.5, "t3": 0.4, "c9": None}.items():
        own = objective_of(toy_results(0.4), dataclasses.replace(objective, part=text))
        assert own == (None if value is None else pytest.approx(value)), text
    assert objective_of(toy_results(0.4), parse_objective("none/score")) is None


def test_levels_of_a_replicate() -> None:
    plan = dataclasses.replace(toy_plans(2)[1], replicate=2)
    assert levels(plan) == "share=0.1 (again, 2)"
