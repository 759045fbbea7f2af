import dataclasses
import json

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.eval.examples import EvalExample, EvalTask
from flan_jax.eval.paired_runs import Measured, compare_runs
from flan_jax.eval.results import read_predictions, read_results, write_results
from flan_jax.eval.suites import evaluate_suites


class Marked:
    """Right about the records in ``right``, whatever is asked."""

    def __init__(self, right):
        self.right = right

    def rank_notes(self, examples):
        return []

    def rank(self, examples, advance):
        return [
            np.asarray([float((option in e.references) == (e.example_id in self.right)) for option in e.options])
            for e in examples
        ]

    def generate(self, examples, advance):
        return [e.references[0] if e.example_id in self.right else "the wrong words here" for e in examples]


def task(name, metric="accuracy", *, cluster="c", count=40, templates=4):
    predict = "generate" if metric in ("bleu", "squad_f1") else "rank"
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    examples = [
        EvalExample(
            np.asarray([4, 1]),
            ("yes", "no") if predict == "rank" else (),
            (("yes", "no")[row % 3 == 0],) if predict == "rank" else (" ".join(np.roll(words, row)[:5]),),
            row,
            row % templates,
            f"{name} {row}",
        )
        for row in range(count)
    ]
    return EvalTask(name, cluster, metric, predict, examples)


TASKS = (task("a"), task("b", "f1_of:yes", cluster="d"), task("w", "bleu", cluster="d"))


@pytest.fixture
def runs(tmp_path):
    """Two runs: the second is right about 28 of 40 records, the first about 20 of them."""
    for name, right in (("first", range(20)), ("second", range(12, 40))):
        write_results(tmp_path / name, evaluate_suites(Marked(set(right)), {"s": list(TASKS)}, step=5))
    return Measured(tmp_path / "first", 5), Measured(tmp_path / "second", 5)


def rewrite(side, name, change):
    path = side.folder / "eval" / "5" / "predictions" / f"{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = change(rows) or rows
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_two_runs_are_compared_on_their_suite(runs):
    found, notes = compare_runs(*runs, "s")
    results = [read_results(side.folder, 5).suites["s"] for side in runs]
    for row, before, after in zip(found.tasks, *results, strict=True):
        assert (row.first, row.second) == pytest.approx((before.value, after.value))
        assert (row.wins, row.losses, row.ties) == (20, 12, 8)
    assert found.average.tasks == 3
    assert found.average.n == 120
    assert found.average.difference == pytest.approx(np.mean([row.difference for row in found.tasks]))
    assert "example+template+task+cluster" in found.average.intervals
    assert notes == []
    back, _ = compare_runs(runs[1], runs[0], "s")
    assert back.average.difference == pytest.approx(-found.average.difference)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-3], "40 and 37 examples were measured, of which 3 only in the first"),
        (lambda rows: rows[::-1], "the 40 examples are the same, but in another order"),
        (lambda rows: rows[3].update(inputs="another"), "the prompts of 1 of 40 examples differ (example 3: 'a 3'"),
        (lambda rows: [row.update(template_id=9) for row in rows[:2]] and None, "the templates of 2 of 40"),
        (lambda rows: rows[0].update(references=["maybe"]), "the references of 1 of 40"),
        (lambda rows: rows[0].update(options=["a", "b"]), "the options of 1 of 40"),
        (lambda rows: rows[0].update(group="g"), "the groups of 1 of 40"),
    ],
)
def test_runs_that_were_not_asked_the_same_are_refused(runs, change, message):
    rewrite(runs[1], "a", change)
    with pytest.raises(UserError) as refused:
        compare_runs(*runs, "s")
    assert message in str(refused.value)
    assert "Task 'a' cannot be compared" in str(refused.value)


def test_other_tasks_metrics_and_suites_are_refused(runs, tmp_path):
    with pytest.raises(UserError, match="Unknown suite 'S'"):
        compare_runs(*runs, "S")
    write_results(tmp_path / "more", evaluate_suites(Marked({1}), {"s": [*TASKS, task("z")]}, step=5))
    with pytest.raises(UserError, match=r"1 task\(s\) only at step 5 of .*: z"):
        compare_runs(runs[0], Measured(tmp_path / "more", 5), "s")
    other = [dataclasses.replace(own, metric="exact_match") if own.name == "a" else own for own in TASKS]
    write_results(tmp_path / "other", evaluate_suites(Marked({1}), {"s": other}, step=5))
    with pytest.raises(UserError, match="scored by accuracy in one run and by exact_match"):
        compare_runs(runs[0], Measured(tmp_path / "other", 5), "s")


def test_a_metric_that_the_predictions_do_not_give_again_is_compared_by_example(runs):
    rewrite(runs[1], "w", lambda rows: rows[0].update(prediction="something else entirely was said"))
    found, notes = compare_runs(*runs, "s")
    assert notes == [
        "w: the mean score of single examples is compared, as bleu cannot be computed from the saved predictions."
    ]
    scores = [p.score for p in read_predictions(runs[1].folder, 5, "w")]
    assert found.tasks[2].second == pytest.approx(np.mean(scores))


def test_intervals_and_templates_survive_the_disk_and_older_files_are_read(runs):
    path = runs[0].folder / "eval" / "5" / "results.json"
    before = read_results(runs[0].folder, 5)
    result, average = before.suites["s"][0], before.averages["s"]
    assert set(result.intervals) == {"example", "template", "example+template"}
    assert result.interval == result.intervals["example"]
    assert average.interval == average.intervals["example"]
    assert set(result.template_quantiles) == {"5", "50", "95"}
    assert result.template_quantiles["5"] <= result.template_summary["mean"] <= result.template_quantiles["95"]
    assert result.template_summary["cost"] == 1
    assert before.suites["s"][2].template_quantiles == {}  # BLEU is no mean over examples
    content = json.loads(path.read_text())
    assert content["interval_levels"] == "example"
    for row in content["suites"]["s"]:
        for key in ("intervals", "template_quantiles", "template_summary"):
            del row[key]
    del content["averages"]["s"]["intervals"]
    path.write_text(json.dumps(content))
    older = read_results(runs[0].folder, 5)
    assert older.suites["s"][0].intervals == {}
    assert older.averages["s"].interval == average.interval
