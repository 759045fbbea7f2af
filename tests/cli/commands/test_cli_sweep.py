"""`flan-jax sweep`: two tiny runs from a gin file to a table of results; what it shows before, and what it refuses."""

import json
import re
import sqlite3

import pytest
from rates_study import rates_study

from flan_jax.cli.commands.sweep import _selected
from flan_jax.cli.planning import checks
from flan_jax.errors import UserError
from flan_jax.studies.plan import RunPlan

STUDY = rates_study(0.001, 0.01, steps=4)


def rates(configs):
    return [config.optimizer.learning_rate for config in configs]


def test_a_study_from_its_file_to_its_results(cli, refused, module, own_tasks, tmp_path, monkeypatch):
    file, root = tmp_path / "rates.gin", tmp_path / "study"
    file.write_text(STUDY)
    common = ("--module_import", module(own_tasks), "--study_dir", str(root))
    declared = ("sweep", *common, "--gin_file", str(file))

    outcome = cli(*declared, "--dry_run")
    assert outcome.code == 0, outcome.err
    assert re.search(r"run_0001 +4 +≤ 896 +learning_rate=0.01", outcome.out)
    assert "2 runs; at most 1,792 tokens, padding included" in outcome.out
    assert not root.exists()

    monkeypatch.setattr(
        checks, "study_plan", lambda configs, *chips: {"learning_rates": rates(configs), "chips": chips}
    )
    monkeypatch.setattr(checks, "study_lines", lambda plan: [f"planned for {plan['chips']}: {plan['learning_rates']}"])
    planned = cli(*declared, "--dry_run", "--target", "v5e", "--devices", "2")
    assert "planned for ('v5e', 2): [0.001, 0.01]" in planned.out.splitlines()
    assert "--target plans the runs" in refused(*declared, "--target", "v5e")
    assert "Name their kind with --target" in refused(*declared, "--dry_run", "--devices", "2")

    for objective, said in (
        ("held_on/score", "Unknown suite of study.objective 'held_on'. Did you mean 'held_in'?"),
        ("held_in/score/nobody", "Unknown cluster or task of study.objective in the suite 'held_in' 'nobody'."),
    ):
        assert said in refused(*declared, f"--gin.study.objective='{objective}'")

    outcome = cli(*declared, "--json")
    assert outcome.code == 0, outcome.err
    events = [json.loads(line) for line in outcome.out.splitlines()]
    assert [event["runs"] for event in events if event["event"] == "began"] == [["run_0000", "run_0001"]]
    assert [event["step"] for event in events if event["event"] == "progress"] == [2, 4]
    ended = {event["run"]: event for event in events if event["event"] == "run"}
    assert [ended[name]["state"] for name in ("run_0000", "run_0001")] == ["done", "done"]
    with sqlite3.connect(root / "study.sqlite") as database:
        query = "SELECT run, objective, score_low, tokens FROM run_scores ORDER BY run"
        rows = database.execute(query).fetchall()
        losses = database.execute("SELECT count(DISTINCT loss) FROM losses WHERE task = '' AND step = 4").fetchone()
    assert [row[:2] for row in rows] == [(name, ended[name]["objective"]) for name in ("run_0000", "run_0001")]
    assert all(None not in row for row in rows)
    assert losses == (2,), "the runs differ"

    # Nothing is left to do; the folder knows its study, and its own configuration reproduces each run.
    outcome = cli("sweep", *common)
    assert outcome.code == 0, outcome.err
    assert str(root / "study.sqlite") in outcome.out
    again = json.loads(cli("sweep", *common, "--status", "--json").out)
    assert (again["states"], [run["attempts"] for run in again["runs"]]) == ({"done": 2}, [1, 1])
    assert (again["workers"], again["seconds_left"]) == ([], 0.0)
    assert again["runs"][1]["objective"] == ended["run_0001"]["objective"]
    written = (root / "runs" / "run_0001" / "config.gin").read_text()
    assert written.rstrip().splitlines()[-3] == "OptimizerConfig.learning_rate = 0.01"

    # Prepared, it tells exactly what a run reads.
    row = json.loads(cli(*declared, "--dry_run", "--json").out)["runs"][0]
    assert 0 < row["tokens"] < row["positions"]
    assert row["most_repeats"] > 0

    for old, new, said in (
        ("TRAIN_STEPS = 4", "TRAIN_STEPS = 6", "steps: 4 → 6"),
        ("max_examples = 4", "max_examples = 3", "evaluation.max_examples: 4 → 3"),
    ):
        file.write_text(STUDY.replace(old, new))
        assert f"was begun from another file: the base run has other values: {said}, and" in refused(*declared)
    file.write_text(STUDY.replace("0.01)", "0.01, 0.02)"))
    assert "1 of its 3 runs are new. Put the file back, or name another --study_dir, or add --extend" in refused(
        *declared
    )
    rows = json.loads(cli(*declared, "--dry_run", "--extend", "--json").out)["runs"]
    assert [row["name"] for row in rows] == ["run_0000", "run_0001", "run_0002"]
    assert "there is no run 2" in refused(*declared[:-2], "--runs", "2")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--status", "--dry_run"), "--status runs nothing, so it does not read --dry_run"),
        (("--status", "--gin.TRAIN_STEPS=3"), "--status runs nothing, so it does not read --gin.TRAIN_STEPS"),
        (("--dry_run", "--retries", "2"), "--dry_run runs nothing, so it does not read --retries"),
        (("--retries", "-1"), "--retries is -1; it must be at least 0"),
        (("--runs_per_group", "0"), "--runs_per_group is 0; a group has at least 1 run"),
        (("--status",), "There is no folder"),
        ((), "There is no folder"),
        (("--gin_file", "runs/quickstart.gin"), "None of runs/quickstart.gin describes a study"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, sentence, refused, tmp_path):
    assert sentence in refused("sweep", "--study_dir", str(tmp_path / "study"), *arguments)
    assert not (tmp_path / "study").exists()


def test_a_folder_that_is_no_study_is_left_alone(refused, tmp_path, own_tasks, module):
    (tmp_path / "notes.txt").touch()
    (tmp_path / "rates.gin").write_text(STUDY)
    name = module(own_tasks)
    before = sorted(tmp_path.iterdir())
    arguments = ("sweep", "--study_dir", str(tmp_path), "--module_import", name)
    assert "holds no study.json, so it is not the folder of a study" in refused(*arguments, "--status")
    said = refused(*arguments, "--gin_file", str(tmp_path / "rates.gin"))
    assert "and no study.json, so it is not the folder of a study" in said
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "__pycache__"] == before


def test_runs_by_number():
    plans = [RunPlan(place, f"run_{place:04}") for place in range(10)]
    assert _selected(None, plans) == [plan.name for plan in plans]
    assert _selected("3, 5-7,3", plans) == ["run_0003", "run_0005", "run_0006", "run_0007"]
    for text, sentence in {
        "": "'' is no number and no range",
        "a": "'a' is no number",
        "1-": "'1-' is no number and no range",
        "7-5": "ends before it begins. Write 5-7",
        "4,12": "there is no run 12. The study has runs 0 to 9",
    }.items():
        with pytest.raises(UserError, match=re.escape(sentence)):
            _selected(text, plans)
