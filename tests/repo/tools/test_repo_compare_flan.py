"""The comparison with FLAN's own code: what it counts, and, over a checkout, that every string is the same."""

import dataclasses
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mixtures  # noqa: F401  (registers the tasks)
from flan_jax.data.templates.template_set import TemplateSet, published_template
from flan_jax.tasks.catalog import TASKS
from mixtures.flan_fields import PUBLISHED

TOOLS = Path(__file__).parents[3] / "tools"


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("compare_flan"), importlib.import_module("_flan_records")


@dataclasses.dataclass
class Code:
    """A stand-in for FLAN's code over BoolQ and NQ, whose features are what ours are but for ``changed``."""

    changed: dict[str, str]
    fails: bool = False
    set_name = "flan2021"
    patterns = {  # noqa: RUF012  (never changed)
        "bool_q": [("{text} {title}: {question} ", "{answer}"), ("{question}\n{options_}", "{answer}")],
        "trec": [("{text}", "{answer}")],
        "natural_questions": [("{question}", "{answer}")],
    }

    def processed(self, task, records):
        if self.fails:
            raise KeyError("title")
        for record in records:
            yield {**PUBLISHED[task][0].fields(record), **self.changed}

    def rendered(self, pattern, features):
        return tuple(text.format_map(features) for text in pattern)


def templates(patterns):
    made = {
        task: tuple(published_template({"inputs": x, "targets": y}, options=True) for x, y in given)
        for task, given in patterns.items()
        if task != "trec"
    }
    return TemplateSet("invented", made, {}, "flan2021")


def test_each_difference_is_counted_by_task_and_kind(tools):
    compare_flan, records = tools
    given = {"bool_q": [(record, record) for record in records.invented("bool_q", 3)]}
    same = compare_flan.compare(Code({}), templates(Code.patterns), given)
    assert (same.strings, same.exact, dict(same.differences)) == (12, 12, {})
    assert same.not_compared == {"trec": "no records", "natural_questions": "no records"}

    spaced = compare_flan.compare(Code({"question": "so "}), templates(Code.patterns), given)
    assert (spaced.strings, spaced.exact) == (12, 6)
    assert dict(spaced.differences) == {("bool_q", "input: other words"): 6}
    theirs, ours = spaced.examples["bool_q", "input: other words"]
    assert "so " in theirs
    assert "so " not in ours

    without = [(record, {**record, "title": None}) for record, _ in given["bool_q"]]
    lacking = compare_flan.compare(Code({}), templates(Code.patterns), {"bool_q": without})
    assert (lacking.no_column["bool_q"], lacking.strings, lacking.exact) == (3, 6, 6)
    failing = compare_flan.compare(Code({}, fails=True), templates(Code.patterns), given)
    assert failing.not_compared["bool_q"] == "FLAN's code fails: KeyError: 'title'"


def test_white_space_alone_is_told_from_other_words(tools):
    outcome = tools[0].Outcome()
    outcome.add("rte", "input", "a  b ", "a b")
    outcome.add("rte", "target", "a", "b")
    outcome.add("rte", "target", "b", "b")
    assert (outcome.strings, outcome.exact) == (3, 1)
    assert set(outcome.differences) == {("rte", "input: white space alone"), ("rte", "target: other words")}


def test_every_task_has_invented_records_that_are_hard(tools):
    _, records = tools
    for task in PUBLISHED:
        made = list(records.invented(task, 4))
        fields = TASKS.get(task).published[0]
        slots = [fields.fields(record) for record in made]
        assert any(slots), task
        assert len({str(one) for one in slots}) > 1, task
    texts = [text for record in records.invented("squad_v1", 12) for text in (record["context"], record["question"])]
    assert any(text != text.strip() for text in texts)
    assert any("{" in text for text in texts)
    assert any(not text.isascii() for text in texts)


@pytest.mark.skipif(
    "FLAN_JAX_FLAN_DIR" not in os.environ, reason="needs FLAN_JAX_FLAN_DIR, a checkout of google-research/FLAN"
)
def test_every_string_of_a_checkout_is_the_same(tmp_path):
    command = [sys.executable, str(TOOLS / "compare_flan.py"), os.environ["FLAN_JAX_FLAN_DIR"], "--records", "1"]
    chosen = ["--templates", "flan2021", "--templates", "flan2022_fs_noopt", "--work_dir", str(tmp_path)]
    done = subprocess.run([*command, *chosen], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "flan2021: 1,400 of 1,400 strings are exact" in done.stdout
