"""`flan-jax report` of a study: a page, JSON, pages of its runs, and one sentence for what is none."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "studies"))
sys.path.insert(0, str(Path(__file__).parents[2] / "studies" / "page"))
from study_page_toys import make_study
from toy_study import toy_plans, toy_study

BASE = {"mixture": "toy", "steps": 8}


@pytest.fixture
def root(tmp_path):
    return make_study(tmp_path / "study", description={"name": "toy", "objective": "held_out/f1"}).root


def test_a_study_is_known_by_its_folder(cli, root):
    outcome = cli("report", str(root), "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert (found["kind"], len(found["runs"]), found["without_objective"][:1]) == ("study", 21, ["run_0000"])
    assert not (root / "report.html").exists()
    outcome = cli("report", str(root), "--output", str(root / "page.html"))
    assert (outcome.code, outcome.out.strip()) == (0, str(root / "page.html"))
    assert (root / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert not list(root.glob("runs/*/report.html"))


def test_pages_of_runs_are_written_on_request_and_linked(cli, tmp_path):
    study = toy_study(tmp_path / "study", toy_plans(2), base=BASE)
    study.model_dir("run_0001").mkdir(parents=True)
    (study.model_dir("run_0001") / "manifest.json").write_text('{"config": {}, "tasks": {}}')
    outcome = cli("report", str(study.root), "--runs")
    assert outcome.code == 0, outcome.err
    assert "wrote the pages of 1 runs; 1 have nothing to show yet" in outcome.err
    assert [path.parent.name for path in study.root.glob("runs/*/report.html")] == ["run_0001"]
    runs = json.loads(cli("report", str(study.root), "--json").out)["runs"]
    assert [run["page"] for run in runs] == [False, True]


def test_what_makes_no_sense_is_refused(refused, root, tmp_path):
    assert "whose page stands alone" in refused("report", str(root), str(root / "runs" / "run_0000"))
    assert "Follow a study with `flan-jax sweep --status`" in refused("report", str(root), "--serve")
    assert "--runs writes pages and --json prints" in refused("report", str(root), "--runs", "--json")
    assert "no study is named" in refused("report", str(root / "runs" / "run_0000"), "--runs")
    assert "no study.json" in refused("report", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("study.json", "{", "is no description of a study"),
        ("study.json", "[]", "is no description of a study"),
        ("records/run_0000.json", "{", "run_0000.json"),
    ],
)
def test_a_broken_study_is_refused_in_one_sentence(refused, root, name, content, said):
    (root / name).write_text(content)
    assert said in refused("report", str(root))
    assert not (root / "report.html").exists()
