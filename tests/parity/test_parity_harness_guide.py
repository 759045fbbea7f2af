"""The guide's page on lm-evaluation-harness, followed to the letter."""

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

pytest.importorskip("lm_eval")


def test_the_harness_is_called_as_the_guide_says(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "repo"))
    from test_repo_guide import follow

    follow("harness.md", tmp_path)
    (results,) = (tmp_path / "results").rglob("results_*.json")
    found = json.loads(results.read_text(encoding="utf-8"))
    assert (found["config"]["model"], found["results"]["cats"]["sample_len"]) == ("flan_jax", 2)
