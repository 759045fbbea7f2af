"""A study's folder knows the study that it was begun with: the same file goes on, another is refused, more runs are added."""

import json
import re
from pathlib import Path

import pytest
from toy_study import BASE, DESCRIPTION, toy_plans, toy_study

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.options import EvalConfig
from flan_jax.launch.record import FOLDER
from flan_jax.studies.run_records import RunRecord, read_record
from flan_jax.studies.study_dir import (
    StudyDir,
    base_as_now,
    base_identity,
    begin_study,
    open_study,
    planned,
)
from flan_jax.testing.models import tiny_t5
from flan_jax.train.optimizer import OptimizerConfig


@pytest.fixture
def root(tmp_path: Path) -> Path:
    toy_study(tmp_path / "study", toy_plans(3))
    return tmp_path / "study"


def test_the_same_file_goes_on(root: Path) -> None:
    before = (root / "study.json").read_bytes()
    assert toy_study(root, toy_plans(3)) == open_study(root)
    assert (root / "study.json").read_bytes() == before
    assert (root / "study.gin").read_text() == "# toy\n"


def test_a_study_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """What it did not know of is as the default says, until somebody changes it."""
    base = RunConfig.from_options(
        model_dir="base", mixture="toy", model=tiny_t5(), steps=8, batch_size=4, log_period=2,
        lengths={"inputs": 8, "targets": 8}, optimizer=OptimizerConfig(name="adamw", learning_rate=0.1),
    )  # fmt: skip
    written = base_identity(base)
    assert written["steps"] == 8
    del written["inversion"], written["evaluation"]["option_score"]
    root = tmp_path / "study"
    toy_study(root, toy_plans(1), base=written)

    def again(base: RunConfig) -> StudyDir:
        return toy_study(root, toy_plans(1), base=base_identity(base), as_now=lambda found: base_as_now(found, base))

    assert len(again(base).plans) == 1
    with pytest.raises(UserError, match=r"other values: inversion: True → False"):
        again(base.with_options(inversion=False))
    with pytest.raises(UserError, match=r"other values: evaluation.max_examples: 0 → 3"):
        again(base.with_options(evaluation=EvalConfig(max_examples=3)))


def test_what_changes_no_run_may_change(root: Path) -> None:
    described = {**DESCRIPTION, "objective": "held_out/score"}
    assert toy_study(root, toy_plans(3), description=described, text="# another\n").description == described
    assert open_study(root).description == described
    assert (root / "study.gin").read_text() == "# another\n"


@pytest.mark.parametrize(
    ("plans", "base", "sentence"),
    [
        (
            toy_plans(3),
            {**BASE, "steps": 30},
            "the base run has other values: steps: 8 → 30, and its runs would not be comparable. Put them back, or name another",
        ),
        (
            toy_plans(5),
            BASE,
            "2 of its 5 runs are new. Put the file back, or name another --study_dir, or add --extend, which keeps the 3 runs and",
        ),
        (toy_plans(1), BASE, "2 of the study's are not among them. Put the file back"),
        (
            toy_plans(3, dropout=0.1),
            BASE,
            "3 of its 3 runs are new and 3 of the study's are not among them (first run_0000: option.dropout: None → 0.1). Put",
        ),
        (toy_plans(3)[::-1], BASE, "its runs come in another order (first run_0000: "),
    ],
)
def test_another_file_is_refused_with_what_changed(plans, base, sentence, root: Path) -> None:
    before = {path: path.read_bytes() for path in root.iterdir()}
    with pytest.raises(UserError, match=re.escape(f"was begun from another file: {sentence}")):
        toy_study(root, plans, base=base)
    assert {path: path.read_bytes() for path in root.iterdir()} == before


def test_extend_adds_runs_and_keeps_the_old(root: Path) -> None:
    asked = [*toy_plans(5)[3:], *toy_plans(3)]  # what is new stands before what was there
    study = toy_study(root, asked, extend=True)
    assert [plan.name for plan in study.plans] == [f"run_{place:04}" for place in range(5)]
    assert [plan.digest() for plan in study.plans] == [plan.digest() for plan in toy_plans(5)]
    assert [plan.index for plan in study.plans] == [0, 1, 2, 3, 4]
    assert toy_study(root, asked) == study, "the file as it was extended goes on without the flag"
    assert json.loads((root / "study.json").read_text())["history"][0] | {"at": ""} == {
        "at": "",
        "before": 3,
        "added": 2,
    }
    with pytest.raises(UserError, match="--extend adds runs of the same base run only"):
        toy_study(root, asked, base={**BASE, "steps": 30}, extend=True)
    with pytest.raises(UserError, match=r"run_0000 .* is not among the 2 runs"):
        toy_study(root, toy_plans(3)[1:], extend=True)


def test_what_a_study_would_be_is_told_without_a_trace(root: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in root.iterdir()}
    given = {"description": DESCRIPTION, "base": BASE}
    assert len(planned(root, toy_plans(4), extend=True, **given)) == 4
    assert {path: path.read_bytes() for path in root.iterdir()} == before
    assert planned(tmp_path / "new", toy_plans(4), **given) == tuple(toy_plans(4))
    assert not (tmp_path / "new").exists()


def test_a_study_that_was_launched_may_begin(tmp_path: Path) -> None:
    (tmp_path / FOLDER / "1-slurm").mkdir(parents=True)
    assert toy_study(tmp_path, toy_plans(1)).root == tmp_path


def test_folders_that_are_no_study(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no folder"):
        open_study(tmp_path / "none")
    with pytest.raises(UserError, match=r"holds no study.json, so it is not the folder of a study"):
        open_study(tmp_path)
    (tmp_path / "manifest.json").touch()
    with pytest.raises(UserError, match=r"holds 'manifest.json' and no study.json, so it is not the folder of a study"):
        toy_study(tmp_path, toy_plans(1))
    with pytest.raises(UserError, match="is a file"):
        toy_study(tmp_path / "manifest.json", toy_plans(1))
    with pytest.raises(UserError, match="comes to no run"):
        begin_study(tmp_path / "new", [], text="", description={}, base={})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda text: text[:40], "is no description of a study"),
        (lambda text: text.replace('"runs"', '"walks"'), "is no description of a study"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "was written by flan-jax .*, which knows more"),
        (lambda text: text.replace("0.9", "0.8"), "says that run_0001 has the digest .*: it was altered"),
    ],
)
def test_a_damaged_study(damage, sentence: str, root: Path) -> None:
    path = root / "study.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=sentence):
        open_study(root)


def test_records_say_how_a_run_stands(root: Path) -> None:
    study = open_study(root)
    record = study.record("run_0000")
    assert (record.state(), record.wants_work(0)) == ("pending", True)
    record = record.began("group_0000")
    assert (record.state(), record.state(claimed=True)) == ("interrupted", "running")
    record = record.ended("failed", reason="why", step=2, wall_seconds=1.5)
    assert (record.state(), record.reason, record.wants_work(0), record.wants_work(1)) == ("failed", "why", False, True)
    record = record.began("group_0001").ended("stopped", wall_seconds=2.0)
    assert (record.state(), record.failures, record.wants_work(0)) == ("interrupted", 1, True)
    record = record.began("group_0001").ended("done", step=8)
    assert (record.state(claimed=True), record.wants_work(9), record.wall_seconds) == ("done", False, 3.5)
    study.note("run_0000", record)
    assert study.record("run_0000") == record
    assert RunRecord() == read_record(root / "none.json")
    (root / "records" / "run_0001.json").write_text('{"attempts": [{"what": 1}]}')
    with pytest.raises(UserError, match="is no record of a run"):
        study.record("run_0001")
