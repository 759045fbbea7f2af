"""The document of a study's page: its numbers are those of the database, and what it counts and names is all there is."""

import json
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
from study_page_toys import (
    BASE,
    CLUSTERS,
    DESCRIPTION,
    DIVERGED,
    EVIL,
    FAILED,
    MODES,
    PENDING,
    SEEDS,
    learn_weights,
    make_study,
    page_plans,
)
from toy_study import STEPS, toy_study

from flan_jax.errors import UserError
from flan_jax.eval.results import write_results
from flan_jax.studies.claims import Claims
from flan_jax.studies.database import StudyDatabase, database_of
from flan_jax.studies.fits.choice import choose
from flan_jax.studies.page import law
from flan_jax.studies.page.document import study_document
from flan_jax.studies.page.factors import factor_tables
from flan_jax.studies.page.published import published_measures
from flan_jax.studies.page.results import read_results
from flan_jax.studies.proposals.propose import propose
from flan_jax.studies.proposals.record import proposal_document, write_proposal
from flan_jax.studies.study_dir import StudyDir

OBJECTIVE = "held_out/choice_probability"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyDir:
    study = make_study(tmp_path_factory.mktemp("page") / "study")
    learn_weights(study, "run_0004")
    return study


@pytest.fixture(scope="module")
def database(study: StudyDir) -> StudyDatabase:
    with Claims(study.claims) as claims:
        database_of(study).update(study, claims)
    return database_of(study)


@pytest.fixture(scope="module")
def document(study: StudyDir) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(law, "choose", quick)
        return study_document(study.root)


def quick(table, objective, *, progress):
    return choose(table, objective, families=("ridge_linear",), repeats=1, resamples=50, progress=progress)


def cells(document: dict[str, Any], factor: str) -> dict[str, dict[str, Any]]:
    table = next(table for table in document["factors"] if table["name"] == factor)
    return dict(zip((level["level"] for level in table["levels"]), table["means"][OBJECTIVE], strict=True))


def test_it_is_json_and_writes_nothing(study: StudyDir, document: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text) == document
    copy = tmp_path / "copy"
    shutil.copytree(study.root, copy)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    read_results(copy)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_runs_are_those_of_the_database(document: dict[str, Any], database: StudyDatabase) -> None:
    rows = {row["run"]: row for row in database.rows("SELECT * FROM runs")}
    assert [run["run"] for run in document["runs"]] == list(rows)
    for run in document["runs"]:
        assert {name: run[name] for name in ("state", "tokens", "seconds", "reason", "step")} == {
            name: rows[run["run"]][name] for name in ("state", "tokens", "seconds", "reason", "step")
        }
    scores = database.rows("SELECT run, objective, score, score_low, score_high FROM run_scores ORDER BY run")
    ours = [
        (r["run"], r["objective"], r["score"], *r["interval"]) for r in document["runs"] if r["objective"] is not None
    ]
    assert ours == [tuple(row.values()) for row in scores]
    weights = {(row["run"], row["unit"]): row["weight"] for row in database.rows("SELECT * FROM weights")}
    assert {(run["run"], unit): share for run in document["runs"] for unit, share in run["weights"].items()} == weights
    assert document["cost"]["tokens"] == sum(row["tokens"] or 0 for row in rows.values()) > 0


def test_means_by_level_are_those_of_the_database(document: dict[str, Any], database: StudyDatabase) -> None:
    rows = database.rows("SELECT factor, level, runs, objective FROM score_by_level WHERE factor <> 'seed'")
    assert len(rows) == len(CLUSTERS) + len(MODES)
    for row in rows:
        cell = cells(document, row["factor"])[row["level"]]
        assert (cell["runs"], cell["mean"]) == (row["runs"], pytest.approx(row["objective"], abs=1e-12))
    values = [row["objective"] for row in database.rows(
        "SELECT s.objective FROM run_scores s JOIN levels l ON l.run = s.run WHERE l.factor = 'modes' AND l.level = 'no_template'"
    )]  # fmt: skip
    reach = scipy.stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    mean = statistics.fmean(values)
    assert cells(document, "modes")["no_template"]["interval"] == pytest.approx([mean - reach, mean + reach])


def test_differences_are_paired_over_all_other_factors(document: dict[str, Any], database: StudyDatabase) -> None:
    found: dict[tuple[str, str, str], float] = {}
    for row in database.rows("SELECT run, objective FROM run_scores"):
        own = {
            level["factor"]: level["level"]
            for level in database.rows("SELECT * FROM levels WHERE run = ?", (row["run"],))
        }
        found[own["clusters"], own["modes"], own["seed"]] = row["objective"]
    pairs = [found[str(c), MODES[1], str(s)] - found[str(c), MODES[0], str(s)] for c in CLUSTERS for s in SEEDS]
    difference = cells(document, "modes")[MODES[1]]["difference"]
    reach = scipy.stats.t.ppf(0.975, len(pairs) - 1) * statistics.stdev(pairs) / len(pairs) ** 0.5
    assert difference["pairs"] == len(pairs) == 9
    assert difference["value"] == pytest.approx(statistics.fmean(pairs))
    assert difference["interval"] == pytest.approx([statistics.fmean(pairs) - reach, statistics.fmean(pairs) + reach])
    assert cells(document, "modes")[MODES[0]]["difference"] is None


def test_numbers_that_mean_an_amount_are_curves_and_split_by_what_they_are_crossed_with(
    document: dict[str, Any],
) -> None:
    clusters, modes = document["factors"]
    assert (clusters["numeric"], modes["numeric"]) == (True, False)
    assert [level["number"] for level in clusters["levels"]] == list(CLUSTERS)
    assert clusters["splits"]["modes"]["levels"] == list(MODES)
    split = clusters["splits"]["modes"]["means"][0][OBJECTIVE]
    own = [
        run["objective"]
        for run in document["runs"]
        if run["levels"]["clusters"] == "7" and run["levels"]["modes"] == MODES[0]
    ]
    assert split[2] | {"mean": None, "interval": None} == {
        "runs": 3,
        "mean": None,
        "interval": None,
        "difference": split[2]["difference"],
    }
    assert split[2]["mean"] == pytest.approx(statistics.fmean(own))


def test_the_best_point_has_the_spread_of_all_replicates(document: dict[str, Any], database: StudyDatabase) -> None:
    best, noise = document["best"], document["noise"]
    spreads = database.rows("SELECT first_run, runs, objective, variance FROM replicate_spread")
    top = max(spreads, key=lambda row: row["objective"])
    assert best["runs"][0] == top["first_run"]
    assert best["mean"] == pytest.approx(top["objective"])
    pooled = (sum((row["runs"] - 1) * row["variance"] for row in spreads) / noise["freedom"]) ** 0.5
    assert noise["sd"]["value"] == pytest.approx(pooled)
    reach = scipy.stats.t.ppf(0.975, noise["freedom"]) * pooled / top["runs"] ** 0.5
    assert best["interval"] == pytest.approx([best["mean"] - reach, best["mean"] + reach])


def test_runs_without_a_result_are_counted_and_named(document: dict[str, Any]) -> None:
    assert {name: len(runs) for name, runs in document["states"].items()} == {
        "done": 18,
        "failed": 1,
        "diverged": 1,
        "pending": 1,
    }
    assert (document["states"]["failed"], document["states"]["pending"]) == ([FAILED], [PENDING])
    by_name = {run["run"]: run for run in document["runs"]}
    assert EVIL in by_name[FAILED]["reason"]
    assert by_name[DIVERGED]["objective"] is None
    for words in (FAILED, DIVERGED, "18 done", "loss is nan"):
        assert words in document["methods"]


def test_methods_say_what_was_done(document: dict[str, Any]) -> None:
    for words in ("8 steps of 4 rows", "48 tokens of inputs", "adafactor", "learning rate 0.001", OBJECTIVE, "21 runs of 7 points",
                  "0, 1, 2", "held_out (held out): 1 task, split test", "0" * 40, "flan-jax 0.1.0", "Student's", "12 degrees"):  # fmt: skip
        assert words in document["methods"], words


def test_the_law_is_the_one_that_propose_fits(
    study: StudyDir, document: dict[str, Any], database: StudyDatabase
) -> None:
    found = document["law"]
    choice = quick(database.run_table(), OBJECTIVE, progress=print)
    own = choice.best
    assert (found["chosen"], found["runs"]) == (choice.chosen, 18)
    assert found["families"][0]["spearman"]["value"] == own.spearman.value
    assert [run["predicted"]["ridge_linear"] for run in found["measured"]] == pytest.approx(
        list(-own.predicted.mean(axis=0))
    )
    assert [run["score"] for run in found["measured"]] == pytest.approx(
        list(database.values(read_results(study.root).objective).values())
    )
    assert {effect["unit"] for effect in found["effects"]} == {"a", "b", "c"}
    assert len(found["surface"]) == 300
    assert all(
        sum(point["weights"]) == pytest.approx(1, abs=1e-4) and min(point["weights"]) > 0 for point in found["surface"]
    )
    assert "clusters, modes" in found["notes"][0]
    assert [law["objective"] for law in found["clusters"]] == [f"{OBJECTIVE}/{cluster}" for cluster in ("c1", "c2")]
    assert {effect["unit"] for effect in found["clusters"][0]["effects"]} == {"a", "b", "c"}


def test_a_proposal_stands_beside_what_its_runs_measured(
    study: StudyDir, database: StudyDatabase, tmp_path: Path
) -> None:
    root = tmp_path / "study"
    shutil.copytree(study.root, root)
    assert law.proposed(read_results(root), []) is None
    choice = quick(database.run_table(), OBJECTIVE, progress=print)
    proposal = propose(choice, choice.table.weights.mean(axis=0), resamples=20)
    content = {**proposal_document(proposal, choice), "prior": "the mean of the runs"}
    write_proposal(content, root / "proposal", runs=root / "proposal" / "runs")
    found = law.proposed(read_results(root), [])
    assert found is not None
    assert found["same_runs"]
    assert [run["measured"] for run in found["confirmed"]] == [None, None, None]
    low, high = (content["predictions"]["proposed"][end] for end in ("low", "high"))
    (root / "proposal" / "measured.csv").write_text(f"run,{OBJECTIVE}\nproposed,{(low + high) / 2}\nequal,{high + 1}\n")
    confirmed = {run["name"]: run for run in law.proposed(read_results(root), [])["confirmed"]}
    assert [confirmed[name]["covered"] for name in ("proposed", "proportional", "equal")] == [True, None, False]
    (root / "proposal" / "proposal.json").write_text('{"version": 1}')
    missing: list[str] = []
    assert law.proposed(read_results(root), missing) is None
    assert "is no proposal" in missing[0]


def test_shares_of_learned_weights_are_those_that_were_logged(document: dict[str, Any]) -> None:
    (found,) = document["shares"]
    assert found["run"] == "run_0004"
    assert found["clusters"]["one"]["steps"] == list(range(1, STEPS + 1))
    assert found["clusters"]["one"]["shares"] == pytest.approx([0.8 - 0.05 * step for step in range(1, STEPS + 1)])
    assert found["clusters"]["two"]["shares"] == pytest.approx([0.2 + 0.05 * step for step in range(1, STEPS + 1)])


def test_papers_stand_beside_factors_that_ask_their_question(study: StudyDir, document: dict[str, Any]) -> None:
    assert [(found["title"], found["factor"]) for found in document["findings"]] == [
        ("Number of training clusters", "clusters"),
        ("Instructions, the data set's name, or no template in training", "modes"),
    ]
    assert document["published"] == []
    results = read_results(study.root)
    path = study.model_dir("run_0000")
    from flan_jax.report.run import read_run

    found = read_run(path).results[-1]
    other = type(found)(STEPS + 1, {"mmlu": found.suites["held_out"]}, {})
    copy = path / "eval" / str(STEPS + 1)
    try:
        write_results(path, other)
        (figure,) = published_measures(results, ["run_0000"])
        assert figure["title"] == "MMLU, direct answers"
        assert figure["ours"][0]["tasks"] == 3
    finally:
        shutil.rmtree(copy)


def test_an_objective_that_no_run_has_is_said(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", description={**DESCRIPTION, "objective": "held_out/f1"})
    document = study_document(study.root)
    assert (document["best"], document["noise"]) == (None, None)
    assert len(document["without_objective"]) == 18
    assert "held_out/f1" in document["law"]["why"]
    assert OBJECTIVE in [measure["name"] for measure in document["measures"]]


def test_a_study_that_was_only_begun_has_a_page_too(tmp_path: Path) -> None:
    study = toy_study(tmp_path / "study", page_plans(), description=DESCRIPTION, base=BASE)
    document = study_document(study.root)
    assert document["law"]["why"].startswith(f"No run of the study in {str(study.root)!r} is done")
    assert document["states"] == {"pending": [plan.name for plan in study.plans]}
    assert all(cell["mean"] is None for table in document["factors"] for cell in table["means"][OBJECTIVE])


def test_arms_are_held_against_their_common_baseline_with_a_pooled_spread(study: StudyDir) -> None:
    results = read_results(study.root)
    runs = [row["run"] for row in results.done][:9]
    levels = {}
    for place, run in enumerate(runs):
        seed = ("seed", (str(place % 3), float(place % 3)))
        own = {0: {"arm": ("baseline", None), "size": ("8", 8.0), "start": ("text", None)}, 1: {"arm": ("size", None), "size": ("1", 1.0)},
               2: {"arm": ("start", None), "start": ("none", None)}}[place // 3]  # fmt: skip
        levels[run] = {**own, seed[0]: seed[1]}
    shown = type(results)(**{**vars(results), "levels": levels, "weights": {}, "runs": [r for r in results.runs if r["run"] in runs],
                             "scores": {OBJECTIVE: {run: results.values[run] for run in runs}}})  # fmt: skip
    tables = {table["name"]: table for table in factor_tables(shown, [OBJECTIVE])}
    assert set(tables) == {"size", "start"}
    assert tables["size"]["splits"] == {}  # the arms are not crossed
    size = tables["size"]
    assert (size["pooled"], size["first"]) == (True, "8")
    assert [level["level"] for level in size["levels"]] == ["8", "1"]
    values = [[results.values[run] for run in runs[start : start + 3]] for start in (0, 3)]
    spread = ((statistics.variance(values[0]) + statistics.variance(values[1])) / 2) ** 0.5
    difference = size["means"][OBJECTIVE][1]["difference"]
    assert difference["value"] == pytest.approx(statistics.fmean(values[1]) - statistics.fmean(values[0]))
    reach = scipy.stats.t.ppf(0.975, 4) * spread * (2 / 3) ** 0.5
    assert difference["interval"][1] - difference["value"] == pytest.approx(reach)


def test_a_damaged_study_is_refused(study: StudyDir, tmp_path: Path) -> None:
    root = tmp_path / "study"
    shutil.copytree(study.root, root)
    (root / "study.json").write_text("{")
    with pytest.raises(UserError, match="is no description of a study"):
        study_document(root)


def test_what_is_damaged_in_a_run_is_named(study: StudyDir, tmp_path: Path) -> None:
    root = tmp_path / "study"
    shutil.copytree(study.root, root)
    (root / "runs" / "run_0003" / "metrics.jsonl").write_text("no\n")
    assert any("run_0003" in line and "damaged line" in line for line in read_results(root).unread)
