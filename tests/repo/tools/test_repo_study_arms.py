"""The table of a study of arms: means over seeds, pooled intervals and differences from the baseline, by hand."""

import importlib.util
import json
import sqlite3
from pathlib import Path

import pytest
import scipy.stats

from flan_jax.studies.database_schema import TABLES

ROOT = Path(__file__).parents[3]
SPEC = importlib.util.spec_from_file_location("study_arms", ROOT / "tools/statistics/study_arms.py")
study_arms = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(study_arms)

# Run → its arm, level, state, step of its results, score of the held-out task, and those of two trained tasks.
RUNS = {
    "run_0000": ("baseline", 4, "done", 9, 0.50, {"a": 0.4, "b": 0.8}),
    "run_0001": ("baseline", 4, "done", 9, 0.54, {"a": 0.6, "b": 0.8}),
    "run_0002": ("clusters", 1, "done", 9, 0.30, {"a": 0.9}),
    "run_0003": ("clusters", 1, "done", 9, 0.36, {"a": 0.7}),
    "run_0004": ("clusters", 2, "done", 9, 0.40, {"a": 0.5, "b": 0.6}),
    "run_0005": ("clusters", 2, "failed", 3, 0.99, {}),
    "run_0006": ("tuning", None, "done", 0, 0.20, {"a": 0.1, "b": 0.1}),
}


@pytest.fixture
def study(tmp_path):
    with sqlite3.connect(tmp_path / "study.sqlite") as database:
        database.executescript(TABLES)
        for number, (run, (arm, level, state, step, held_out, trained)) in enumerate(RUNS.items()):
            database.execute(
                "INSERT INTO runs (run, number, replicate, state, attempts, failures, reason, evaluated_step, tokens, "
                "seconds, wall_seconds, point, digest, stamp) VALUES (?, ?, 0, ?, 1, 0, '', ?, 10, 2, 3, '', '', '')",
                (run, number, state, step),
            )
            shown = {"arm": arm, "seed": number % 2, "order": number}
            shown |= {"tuning": "none"} if level is None else {"clusters": level}
            shown |= {"tuning": "tuned"} if arm == "baseline" else {}
            for factor, value in shown.items():
                own = None if isinstance(value, str) else value
                database.execute("INSERT INTO levels VALUES (?, ?, ?, ?)", (run, factor, str(value), own))
            rows = [("held_out", 1, "suite", "", "", held_out), ("held_out", 1, "task", "c", "t", held_out)]
            if trained:
                rows.append(("held_in", 0, "suite", "", "", sum(trained.values()) / len(trained)))
                rows += [("held_in", 0, "task", "c", name, value) for name, value in trained.items()]
            for suite, out, kind, cluster, task, value in rows:
                database.execute(
                    "INSERT INTO scores VALUES (?, ?, 1, ?, ?, ?, ?, ?, 'score', ?, NULL, NULL, 5, 1, 0.25)",
                    (run, step, suite, out, kind, cluster, task, value),
                )
    return tmp_path


def test_levels_have_means_and_intervals_over_seeds_beside_the_baseline(study, capsys):
    study_arms.main([str(study), "--json", str(study / "table.json"), "--metrics", "score"])
    table = json.loads((study / "table.json").read_text())
    assert (table["runs"], table["tokens"]) == ({"done": 6, "failed": 1}, 60)
    assert table["chance"] == {"held_out": 25.0, "held_in": 25.0}
    one, two, four = table["arms"]["clusters"]["levels"]
    assert [level["level"] for level in (one, two, four)] == [{"clusters": 1}, {"clusters": 2}, {"clusters": 4}]
    assert (one["runs"], two["runs"], four["baseline"]) == (["run_0002", "run_0003"], ["run_0004"], True)
    # Two pairs, 6 and 4 points apart: s² = (18 + 8) / 2 with two degrees of freedom.
    half = scipy.stats.t.ppf(0.975, 2) * 13**0.5 / 2**0.5
    held_out = one["measured"]["held_out/score"]
    assert held_out["mean"] == 33
    assert held_out["interval"] == pytest.approx([33 - half, 33 + half], abs=0.006)
    assert held_out["less_baseline"] == -19
    assert held_out["less_baseline_interval"] == pytest.approx([-19 - half * 2**0.5, -19 + half * 2**0.5], abs=0.006)
    # It trained on one of the baseline's tasks only: 80 there against 50, not 80 against 65.
    assert one["measured"]["held_in/score"]["less_baseline"] == 15
    assert one["measured"]["held_in/score"]["less_baseline_on_its_own_tasks"] == 30
    trend = table["arms"]["clusters"]["trend"]["held_out/score"]
    line = scipy.stats.linregress([0, 0, 1, 2, 2], [30, 36, 40, 50, 54])
    assert (trend["for_every"], trend["slope"]) == ("doubling", pytest.approx(line.slope, abs=0.006))
    assert "| clusters | 4 (baseline) | 2 |" in capsys.readouterr().out


def test_a_run_without_steps_has_no_spread(study):
    table = study_arms.arms_table(study / "study.sqlite", ["score"])
    untuned, tuned = table["arms"]["tuning"]["levels"]
    assert untuned["level"] == {"tuning": "none"}
    assert untuned["measured"]["held_out/score"]["interval"] is None
    half = scipy.stats.t.ppf(0.975, 1) * 8**0.5 / 2**0.5  # the baseline's alone
    low, high = untuned["measured"]["held_out/score"]["less_baseline_interval"]
    assert (low, high) == pytest.approx((-32 - half, -32 + half), abs=0.006)
    assert tuned["baseline"]


def test_other_studies_are_refused(study):
    with sqlite3.connect(study / "study.sqlite") as database:
        database.execute("DELETE FROM levels WHERE factor = 'arm'")
    with pytest.raises(SystemExit, match="has no arms"):
        study_arms.main([str(study)])
    with pytest.raises(SystemExit, match="There is no"):
        study_arms.main([str(study / "elsewhere")])
