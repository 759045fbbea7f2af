"""The numbers of a study's database, by hand, and what its views and its table for fits make of them."""

import contextlib
import dataclasses
import json
import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from toy_study import STEPS, ToyExecutor, toy_plans, toy_results, toy_study

from flan_jax.errors import UserError
from flan_jax.eval.results import write_results
from flan_jax.studies.claims import Claims
from flan_jax.studies.database import StudyDatabase, database_of
from flan_jax.studies.database_schema import TABLES, VIEWS
from flan_jax.studies.objectives import Objective, means, parse_objective
from flan_jax.studies.study_dir import StudyDir

PROBABILITIES = (0.2, 0.6, 0.4, 0.5)


def brought_up(study: StudyDir) -> StudyDatabase:
    with Claims(study.claims) as claims:
        database_of(study).update(study, claims)
    return database_of(study)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyDir:
    """Four runs, of which the first two are equal but for the seed, and a fifth that diverged."""
    plans = toy_plans(5)
    plans[1] = dataclasses.replace(plans[0], index=1, name="run_0001", options={"seed": 7}, replicate=1)
    study = toy_study(tmp_path_factory.mktemp("database") / "study", plans)
    executor = ToyExecutor(study)
    for plan, probability in zip(plans, PROBABILITIES, strict=False):
        executor.begin(plan)
        for step in range(1, STEPS + 1):
            executor.log_step(plan, step, 100 * step + plan.index)
        write_results(study.model_dir(plan.name), toy_results(0.1, accuracy=0.25).__class__(
            **{**vars(toy_results(0.1, accuracy=0.25)), "step": 2}))  # fmt: skip
        write_results(study.model_dir(plan.name), toy_results(probability, accuracy=probability + 0.1))
        study.note(plan.name, study.record(plan.name).began("group_0000").ended("done", step=STEPS, wall_seconds=2.0))
    study.note("run_0004", study.record("run_0004").began("group_0000").ended("diverged", step=3, reason="loss is nan"))
    brought_up(study)
    return study


def test_means_are_over_clusters_of_their_tasks() -> None:
    results = toy_results(0.4).suites["held_out"]
    results[0] = dataclasses.replace(results[0], metrics={})  # a task without options has no choice probability
    found = {(mean.metric, mean.cluster): (pytest.approx(mean.value), mean.tasks, mean.n) for mean in means(results)}
    assert found["choice_probability", "c1"] == (0.3, 1, 20)
    assert found["choice_probability", "c2"] == (0.4, 1, 20)
    assert found["choice_probability", ""] == (0.35, 2, 40)
    assert found["score", ""] == (0.5, 3, 60)
    # Clusters of one task each say nothing of how tasks differ.
    assert {mean.interval for mean in means(results) if mean.metric == "choice_probability"} == {None}
    more = [*results, dataclasses.replace(results[1], name="again", metrics={"choice_probability": 0.5})]
    spread = {mean.cluster: mean for mean in means(more) if mean.metric == "choice_probability"}
    values = {cluster: [] for cluster in spread if cluster}
    for result in more:
        if "choice_probability" in result.metrics:
            values[result.cluster].append(result.metrics["choice_probability"])
    (pair,) = [own for own in values.values() if len(own) == 2]
    deviation = np.std(pair, ddof=1)
    for cluster, own in values.items():
        half = 12.706204736432095 * deviation / len(own) ** 0.5  # t of one degree of freedom
        assert spread[cluster].interval == pytest.approx((np.mean(own) - half, np.mean(own) + half))
    half = 12.706204736432095 * deviation * (1 + 1 / 2) ** 0.5 / 2
    assert spread[""].interval == pytest.approx((spread[""].value - half, spread[""].value + half))
    own_scale = [dataclasses.replace(result, native_scale=True) for result in results]
    assert "score" not in {mean.metric for mean in means(own_scale)}
    assert ("accuracy", "") in {(mean.metric, mean.cluster) for mean in means(own_scale)}


def test_runs(study: StudyDir) -> None:
    row = database_of(study).rows("SELECT * FROM runs WHERE run = 'run_0001'")[0]
    kept = ("state", "attempts", "replicate", "step", "steps", "evaluated_step", "tokens", "loss_tokens", "seconds")
    assert [row[name] for name in kept] == ["done", 1, 1, STEPS, STEPS, STEPS, 10.0 * STEPS, 4.0 * STEPS, 0.5 * STEPS]
    assert (row["wall_seconds"], row["commit_id"], row["version"]) == (2.0, "0" * 40, "0.1.0")
    assert json.loads(row["hardware"]) == {"platform": "toy"}


def test_scores_have_their_intervals(study: StudyDir) -> None:
    database = database_of(study)
    query = (
        "SELECT kind, cluster, task, value, low, high, n, tasks, chance FROM scores WHERE run = 'run_0002' AND newest"
    )
    task = database.rows(f"{query} AND metric = 'accuracy' AND kind = 'task' AND task = 't2'")
    assert task == [
        {"kind": "task", "cluster": "c1", "task": "t2", "value": 0.5, "low": 0.4, "high": 0.6, "n": 20, "tasks": 1, "chance": 0.25}
    ]  # fmt: skip
    mean = database.rows(f"{query} AND metric = 'score' AND kind = 'suite_tasks'")[0]
    assert (mean["value"], mean["low"], mean["high"], mean["n"], mean["tasks"]) == (
        0.5,
        pytest.approx(0.44),
        0.56,
        60,
        3,
    )
    steps = database.rows("SELECT step, value FROM learning_curves WHERE run = 'run_0002' AND metric = 'score'")
    assert steps == [{"step": 2, "value": 0.25}, {"step": STEPS, "value": 0.5}]


def test_views_answer_their_questions(study: StudyDir) -> None:
    database = database_of(study)
    assert [row["run"] for row in database.rows("SELECT * FROM best_runs")] == [
        "run_0001",
        "run_0003",
        "run_0002",
        "run_0000",
    ]
    levels = {row["level"]: row for row in database.rows("SELECT * FROM score_by_level")}
    assert (levels["0.0"]["runs"], levels["0.0"]["objective"]) == (2, pytest.approx(0.4))
    assert (levels["0.0"]["lowest"], levels["0.0"]["highest"]) == (pytest.approx(0.2), pytest.approx(0.6))
    spread = database.rows("SELECT * FROM replicate_spread")
    assert [(row["first_run"], row["runs"]) for row in spread] == [("run_0000", 2)]
    assert spread[0]["variance"] == pytest.approx(np.var([0.2, 0.6], ddof=1))
    weights = database.rows("SELECT * FROM weights_and_score WHERE run = 'run_0002' ORDER BY unit")
    assert [(row["unit"], row["weight"], row["objective"]) for row in weights] == [("a", 0.2, 0.4), ("b", 0.8, 0.4)]
    assert database.rows("SELECT * FROM failed_runs")[0]["reason"] == "loss is nan"
    assert [(row["state"], row["runs"]) for row in database.rows("SELECT * FROM cost")] == [
        ("diverged", 1),
        ("done", 4),
    ]
    losses = database.rows("SELECT * FROM last_losses WHERE run = 'run_0003'")
    assert losses == [{"run": "run_0003", "task": "a", "loss": 0.03, "share": 1.0}]
    assert len(database.rows("SELECT * FROM task_scores")) == 4 * 3


def test_every_view_opens_and_says_its_question(study: StudyDir) -> None:
    questions = {row["name"]: row["question"] for row in database_of(study).rows("SELECT * FROM views")}
    assert questions == {name: question for name, (question, _) in VIEWS.items()}
    with sqlite3.connect(study.database) as shell:  # as others open it, without a thought
        for name in questions:
            assert shell.execute(f"SELECT * FROM {name}").description


def test_the_table_for_fits(study: StudyDir) -> None:
    table = database_of(study).run_table(["held_out/choice_probability", "held_out/brier/c2", "held_out/score/t1"])
    assert table.runs == ("run_0000", "run_0001", "run_0002", "run_0003")
    assert table.units == ("a", "b")
    np.testing.assert_allclose(table.weights, [[0, 1], [0, 1], [0.2, 0.8], [0.3, 0.7]])
    np.testing.assert_allclose(table.scores["held_out/choice_probability"], PROBABILITIES)
    np.testing.assert_allclose(table.scores["held_out/brier/c2"], 1 - np.array(PROBABILITIES))
    np.testing.assert_allclose(table.scores["held_out/score/t1"], np.array(PROBABILITIES) + 0.1)
    assert list(table.higher_is_better.values()) == [True, False, True]
    assert list(database_of(study).run_table().scores) == ["held_out/choice_probability"]
    objective = parse_objective("held_out/brier")
    assert database_of(study).cluster_objectives(objective) == ["held_out/brier/c1", "held_out/brier/c2"]
    assert database_of(study).cluster_objectives(parse_objective("held_out/brier/c2")) == []
    assert database_of(study).left_out() == {"run_0004": "diverged: loss is nan"}


def test_a_run_without_the_objective_has_none(study: StudyDir, tmp_path: Path) -> None:
    lonely = toy_study(tmp_path / "study", toy_plans(2))
    for plan in lonely.plans:
        ToyExecutor(lonely).begin(plan)
        lonely.note(plan.name, lonely.record(plan.name).began("group_0000").ended("done"))
    write_results(lonely.model_dir("run_0001"), toy_results(0.5))
    scores = brought_up(lonely).run_table().scores["held_out/choice_probability"]
    assert math.isnan(scores[0])
    assert scores[1] == 0.5
    with pytest.raises(
        UserError, match=r"Unknown objective 'held_out/acuracy'. Did you mean 'held_out/accuracy'.*No run that is"
    ):
        database_of(lonely).run_table(["held_out/acuracy"])


def test_what_has_nothing_to_fit(study: StudyDir, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no .*study.sqlite"):
        StudyDatabase(tmp_path / "study.sqlite").run_table()
    plans = [dataclasses.replace(plan, weights={}) for plan in toy_plans(1)]
    plain = toy_study(tmp_path / "plain", plans)
    with pytest.raises(UserError, match=r"No run of the study in .* is done"):
        brought_up(plain).run_table()
    plain.note("run_0000", plain.record("run_0000").began("group_0000").ended("done"))
    with pytest.raises(UserError, match="gives its runs no weights"):
        brought_up(plain).run_table()
    plain.database.write_bytes(b"text" * 2000)
    with pytest.raises(UserError, match="is no database of a study"):
        database_of(plain).rows("SELECT 1")


def test_only_what_changed_is_read_again(study: StudyDir, monkeypatch: pytest.MonkeyPatch) -> None:
    from flan_jax.studies import database as module

    read, rows_of = [], module.rows_of
    monkeypatch.setattr(module, "rows_of", lambda plan, *rest: read.append(plan.name) or rows_of(plan, *rest))
    brought_up(study)
    assert read == []
    metrics = study.model_dir("run_0002") / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"step": 9, "loss": 0.5}\n')
    brought_up(study)
    assert read == ["run_0002"]


def test_objectives() -> None:
    assert str(parse_objective("held_out/score/c1")) == "held_out/score/c1"
    assert parse_objective("held_out/brier") == Objective("held_out", "brier")
    for text in ("score", "", "/score", "held_out/", "held_out/score/"):
        with pytest.raises(UserError, match="names no suite and metric"):
            parse_objective(text)


def test_the_shared_file_is_replaced_and_never_written_to(study: StudyDir) -> None:
    """So that no lock of SQLite is asked for on a file system that machines share, and a reader keeps what it opened."""
    before = study.database.stat().st_ino
    with database_of(study).connected() as reader:
        rows = reader.execute("SELECT count(*) FROM runs").fetchone()[0]
        study.database.with_name("study.sqlite-journal").write_bytes(b"of a process that was killed")
        brought_up(study)
        assert study.database.stat().st_ino != before
        assert reader.execute("SELECT count(*) FROM runs").fetchone()[0] == rows
    study.database.chmod(0o444)
    brought_up(study)
    assert sorted(path.name for path in study.root.glob("*study.sqlite*")) == ["study.sqlite"]


def test_views_need_no_function_that_a_sqlite_may_lack(tmp_path):
    """Mathematical ones are a choice of who builds it: TensorFlow's, which takes Python's place where it is imported, has none."""
    called = set()

    def note(action, first, function, *_):
        if action == sqlite3.SQLITE_FUNCTION:
            called.add(function)
        return sqlite3.SQLITE_OK

    with contextlib.closing(sqlite3.connect(tmp_path / "empty.sqlite")) as connection:
        connection.executescript(TABLES)
        connection.set_authorizer(note)
        for name, (_, query) in VIEWS.items():  # views read one another
            connection.execute(f"CREATE VIEW {name} AS {query}")
            connection.execute(f"SELECT * FROM {name}")
    assert called
    assert not called & {
        "sqrt",
        "pow",
        "power",
        "log",
        "ln",
        "log10",
        "log2",
        "exp",
        "floor",
        "ceil",
        "ceiling",
        "mod",
        "trunc",
    }
