"""Metrics of groups of examples, and of answers that share an ending, against ``make_group_scores.py``."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from eval_toys import decode, encode

from flan_jax.eval.examples import EvalExample, EvalTask
from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.predictor import Predictor
from flan_jax.eval.results import read_predictions, read_results, write_results
from flan_jax.eval.runner import chance, evaluate
from flan_jax.eval.statistics.bca import bca_interval
from flan_jax.eval.statistics.intervals import wilson
from flan_jax.eval.suites import evaluate_suites

REFERENCE = json.loads((Path(__file__).parents[2] / "golden/group_scores.json").read_text(encoding="utf-8"))
ROWS = [tuple(row) for row in REFERENCE["multirc"]["rows"]]
NO_YES = ("no", "yes")


class Chooses:
    """Ranks highest the option that it is told."""

    def __init__(self, answers):
        self.answers = answers

    def rank(self, examples, advance):
        return [
            np.array([float(option == answer) for option in example.options])
            for example, answer in zip(examples, self.answers, strict=True)
        ]

    def rank_notes(self, examples):
        return []


def multirc(rows=ROWS, *, groups=True):
    """An evaluation of (group, prediction, label)s."""
    examples = [
        EvalExample(np.array([5, 1]), NO_YES, (label,), index, index % 3, group=group if groups else "")
        for index, (group, _, label) in enumerate(rows)
    ]
    task = EvalTask("multirc", "c", "f1a:yes", "rank", examples, other_metrics=("group_em", "accuracy"))
    return task, Chooses([prediction for _, prediction, _ in rows])


def test_answers_are_pooled_and_questions_are_right_as_a_whole():
    task, predictor = multirc()
    (result,) = evaluate(predictor, [task])
    assert result.value == pytest.approx(REFERENCE["multirc"]["f1a"], abs=1e-12)
    assert result.metrics["group_em"] == pytest.approx(REFERENCE["multirc"]["em"], abs=1e-12)
    assert result.metrics["accuracy"] == pytest.approx(np.mean([ours == label for _, ours, label in ROWS]))
    assert 0 < result.metrics["group_em"] < result.metrics["accuracy"]
    assert (result.n, result.notes) == (len(ROWS), ())


@pytest.mark.parametrize("metric", ["f1a:yes", "group_em"])
def test_intervals_are_of_questions(metric):
    task, predictor = multirc()
    (result,) = evaluate(predictor, [dataclasses.replace(task, metric=metric)])
    sample = result.sample
    assert len(sample.rows) == len({group for group, _, _ in ROWS})
    if metric == "group_em":
        assert result.interval == pytest.approx(wilson(int(sample.rows.sum()), len(sample.rows)))
    else:
        assert result.interval == bca_interval(sample.metric, sample.rows, name="multirc")
    assert result.interval[0] < result.value < result.interval[1]


def test_guessing_is_right_about_a_question_where_it_is_about_all_of_its_answers():
    task, _ = multirc([("a", "no", "yes"), ("a", "no", "no"), ("b", "no", "yes"), ("c", "no", "no"), ("c", "no", "no")])
    assert chance(dataclasses.replace(task, metric="group_em")) == pytest.approx((1 / 4 + 1 / 2 + 1 / 4) / 3)
    assert chance(task) == pytest.approx(chance(dataclasses.replace(task, metric="f1_of:yes")))


def test_examples_without_groups_are_scored_alone_and_that_is_said(tmp_path):
    task, predictor = multirc(groups=False)
    (result,) = evaluate(predictor, [task])
    assert result.value == pytest.approx(REFERENCE["multirc"]["f1a"], abs=1e-12)
    assert result.metrics["group_em"] == pytest.approx(result.metrics["accuracy"])
    (note,) = result.notes
    assert note.startswith(f"{len(ROWS)} of {len(ROWS)} examples do not say which group they belong to")
    assert "f1a:yes and group_em" in note
    ungrouped = dataclasses.replace(task, metric="f1_of:yes", other_metrics=("accuracy",))
    assert evaluate(predictor, [ungrouped])[0].notes == ()


def test_groups_and_notes_survive_the_disk(tmp_path):
    task, predictor = multirc()
    task = dataclasses.replace(task, notes=("2 of 40 groups are measured by a part of their examples.",))
    results = evaluate_suites(predictor, {"s": [task]}, step=0)
    assert results.averages["s"].interval == pytest.approx(results.suites["s"][0].interval)
    write_results(tmp_path, results)
    assert read_results(tmp_path, 0).suites["s"][0].notes == task.notes
    assert [saved.group for saved in read_predictions(tmp_path, 0, "multirc")] == [group for group, _, _ in ROWS]


def test_entities_are_compared_without_what_follows_them():
    queries = REFERENCE["record"]["queries"]
    examples = [
        EvalExample(
            np.array([5, 1]),
            tuple(entity + query["ending"] for entity in query["entities"]),
            tuple(answer + query["ending"] for answer in query["answers"]),
            index,
            0,
            ending=query["ending"].rstrip(),
        )
        for index, query in enumerate(queries)
    ]
    task = EvalTask("record", "c", "squad_em", "rank", examples, other_metrics=("record_f1",))
    predictor = Chooses([query["chosen"] + query["ending"] for query in queries])
    (result,) = evaluate(predictor, [task])
    assert result.value == pytest.approx(REFERENCE["record"]["em"], abs=1e-15)
    assert result.metrics["record_f1"] == pytest.approx(REFERENCE["record"]["f1"], abs=1e-15)
    assert [saved.score for saved in result.predictions] == [query["em"] for query in queries]
    for query in queries:  # each to the last digit
        assert METRICS.get("record_f1")([query["chosen"]], [query["answers"]]) == query["f1"]
    whole = dataclasses.replace(task, examples=[dataclasses.replace(one, ending="") for one in examples])
    assert evaluate(predictor, [whole])[0].metrics["record_f1"] > REFERENCE["record"]["f1"] + 0.1
    assert result.predictions[0].prediction.endswith(queries[0]["ending"])  # people see all of it


def test_answers_that_are_markers_have_no_ending():
    example = EvalExample(np.array([5, 1]), ("(A)", "(B)"), ("(A)",), 0, 0, ending=" won.")
    assert [example.strip_ending(option) for option in example.options] == ["(A)", "(B)"]


def test_options_that_are_cut_are_counted_once_an_example(model):
    predictor = Predictor(*model, encode, decode, batch_size=4, target_length=4)
    long, other = "w5 w6 w7 w8", "w9 w10 w11 w12"  # with the end of sequence one token too many
    options = [("w5", "w6 w7 w8"), (long, other), ("w5", long), ("w6", "w7"), (long, "w5")]
    examples = [EvalExample(np.array([5, 1]), own, (own[0],), index, 0) for index, own in enumerate(options)]
    tasks = [
        EvalTask(name, "c", "accuracy", "rank", own) for name, own in (("cut", examples), ("whole", examples[::3]))
    ]
    cut, whole = evaluate(predictor, tasks)
    assert cut.notes[0] == "3 of 5 examples have options longer than 4 tokens, which were scored up to there."
    assert whole.notes == ()
    in_chat = dataclasses.replace(predictor, option_ids=lambda option: [*encode(option), 2, 2])
    assert in_chat.rank_notes(examples)[0].startswith("4 of 5 examples")
