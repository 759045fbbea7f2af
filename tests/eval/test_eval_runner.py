import dataclasses
import json
import math

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.eval.examples import EvalExample, EvalTask
from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.option_scores import RANK_METRICS
from flan_jax.eval.results import (
    read_predictions,
    read_results,
    saved_steps,
    step_folder,
    write_results,
)
from flan_jax.eval.runner import chance, evaluate, majority
from flan_jax.eval.suites import average, evaluate_suites


class Scripted:
    """Ranks by the option's length and writes the first word of the prompt."""

    def __init__(self):
        self.calls = []

    def rank_notes(self, examples):
        return []

    def rank(self, examples, advance):
        self.calls.append(len(examples))
        advance(len(examples))
        return [np.array([float(len(option)) for option in example.options]) for example in examples]

    def generate(self, examples, advance):
        self.calls.append(len(examples))
        advance(len(examples))
        return [example.inputs_text.split()[0] for example in examples]


def example(index, *, options=(), references=("yes",), template=0, text="word more"):
    return EvalExample(np.array([5, 1]), tuple(options), tuple(references), index, template, text)


def ranked(name="r", cluster="c", right=3, wrong=1, **kwargs):
    options = ("no", "maybe")
    rows = [example(i, options=options, references=["maybe"], template=i % 2, **kwargs) for i in range(right)]
    rows += [example(right + i, options=options, references=["no"], template=5, **kwargs) for i in range(wrong)]
    return EvalTask(name, cluster, "accuracy", "rank", rows)


def written(name="g", cluster="d"):
    rows = [example(0, references=["word"]), example(1, references=["other", "Word!"]), example(2, references=["x"])]
    return EvalTask(name, cluster, "exact_match", "generate", rows)


def test_pools_examples_of_all_tasks_and_regroups_them():
    predictor, steps = Scripted(), []
    tasks = [ranked("a"), written("b"), ranked("c", right=1, wrong=3), written("d")]
    results = evaluate(predictor, tasks, progress=lambda done, total: steps.append((done, total)))
    assert predictor.calls == [8, 6]
    assert steps == [(8, 14), (14, 14)]
    assert [(r.name, r.value, r.n) for r in results] == [
        ("a", 0.75, 4),
        ("b", 2 / 3, 3),
        ("c", 0.25, 4),
        ("d", 2 / 3, 3),
    ]
    first = results[0].predictions[0]
    assert (first.prediction, first.option_scores, first.score, first.inputs) == ("maybe", (2.0, 5.0), 1.0, "word more")
    assert [p.score for p in results[1].predictions] == [1.0, 1.0, 0.0]


def test_per_template_scores_mean_and_spread():
    (result,) = evaluate(Scripted(), [ranked()])
    assert result.per_template == {0: 1.0, 1: 1.0, 5: 0.0}
    assert result.template_mean == pytest.approx(2 / 3)
    assert result.template_spread == pytest.approx(math.sqrt(1 / 3))
    low, high = result.interval
    assert low < result.value < high


def test_chance_is_the_share_of_right_options():
    task = EvalTask(
        "t",
        "c",
        "accuracy",
        "rank",
        [
            example(0, options="abcd", references=["a"]),
            example(1, options="ab", references=["a"]),
            example(2, options="abcd", references=["b", "c"]),
        ],
    )
    assert chance(task) == pytest.approx((1 / 4 + 1 / 2 + 2 / 4) / 3)
    assert chance(written()) == 0


def test_chance_is_that_of_the_tasks_own_metric():
    rows = [example(i, options=["yes", "no"], references=["yes" if i < 2 else "no"]) for i in range(8)]
    # Half of all are guessed "yes", a quarter of these rightly: precision 1/4, recall 1/2.
    assert chance(EvalTask("t", "c", "f1_of:yes", "rank", rows)) == pytest.approx(1 / 3)
    assert chance(EvalTask("t", "c", "mcc:yes", "rank", rows)) == pytest.approx(0)
    numbers = [example(i, options=["0", "1", "5"], references=[str(i % 4)]) for i in range(8)]
    assert chance(EvalTask("t", "c", "pearson", "rank", numbers)) == pytest.approx(0, abs=1e-9)


def test_majority_answers_the_most_frequent_label():
    assert majority(ranked(right=3, wrong=1), METRICS.get("accuracy")) == 0.75
    assert majority(ranked(right=1, wrong=4), METRICS.get("accuracy")) == 0.8
    # Each reference occurs once; the first in order, "Word!", equals "word" for this metric.
    assert majority(written(), METRICS.get("exact_match")) == pytest.approx(2 / 3)


def test_other_metrics_are_reported_beside_the_first(tmp_path):
    task = dataclasses.replace(ranked(right=3, wrong=1), other_metrics=("f1_of:no", "accuracy", "macro_f1:no|maybe"))
    results = evaluate_suites(Scripted(), {"s": [task, written()]}, step=0)
    (result, plain) = results.suites["s"]
    assert result.value == 0.75
    declared = {name: value for name, value in result.metrics.items() if name not in RANK_METRICS}
    assert declared == {"f1_of:no": 0.0, "macro_f1:no|maybe": pytest.approx((0 + 6 / 7) / 2)}
    assert plain.metrics == {}
    assert results.averages["s"].value == pytest.approx((0.75 + 2 / 3) / 2)
    write_results(tmp_path, results)
    assert read_results(tmp_path, 0).suites["s"][0].metrics == result.metrics


def test_the_signature_of_a_library_stands_beside_its_score():
    (result,) = evaluate(Scripted(), [dataclasses.replace(written(), metric="bleu", other_metrics=("chrf",))])
    assert [note.partition(" is ")[0] for note in result.notes if "version:" in note] == ["bleu", "chrf"]


def test_scores_of_clean_and_overlapping_examples_survive_the_disk(tmp_path):
    task = ranked(right=3, wrong=1)
    labels = ["exact", "clean", "short", "clean"]
    examples = [dataclasses.replace(e, overlap=label) for e, label in zip(task.examples, labels, strict=True)]
    write_results(tmp_path, evaluate_suites(Scripted(), {"s": [dataclasses.replace(task, examples=examples)]}, step=0))
    (result,) = read_results(tmp_path, 0).suites["s"]
    assert [part["n"] for part in result.by_overlap["exact"].values()] == [2, 1, 1]
    assert [prediction.overlap for prediction in read_predictions(tmp_path, 0, task.name)] == labels


def test_an_unknown_other_metric_is_refused_before_any_work():
    predictor = Scripted()
    with pytest.raises(UserError, match="Unknown metric 'f1off:no'"):
        evaluate(predictor, [dataclasses.replace(ranked(), other_metrics=("f1off:no",))])
    assert predictor.calls == []


class Broken(Scripted):
    def rank(self, examples, advance):
        return [np.array([np.nan, np.nan]), *[np.array([1.0, 1.0])] * (len(examples) - 1)]


def test_scores_that_say_nothing_are_noted_and_nan_counts_as_wrong(tmp_path):
    results = evaluate_suites(Broken(), {"s": [ranked(right=1, wrong=1)]}, step=0)
    (result,) = results.suites["s"]
    assert [p.score for p in result.predictions] == [0.0, 1.0]
    assert "1 examples have option scores that are not numbers" in result.notes[0]
    assert "1 examples have equal best scores" in result.notes[1]
    write_results(tmp_path, results)
    (saved, _) = read_predictions(tmp_path, 0, "r")
    assert math.isnan(saved.option_scores[0])


def test_an_unknown_metric_is_refused_before_any_work():
    predictor = Scripted()
    with pytest.raises(UserError, match="Did you mean 'accuracy'"):
        evaluate(predictor, [dataclasses.replace(ranked(), metric="acuracy")])
    assert predictor.calls == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"examples": []}, "has no examples"),
        ({"examples": [example(3, options=["a"])]}, "example 3 has 1 option"),
        ({"examples": [example(4, options="ab", references=[])]}, "example 4 has no references"),
        ({"examples": [dataclasses.replace(example(5, options="ab"), inputs=np.zeros(0))]}, "has no input tokens"),
    ],
)
def test_tasks_that_cannot_be_scored_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(ranked(), **change)


def test_suites_average_over_tasks_over_examples_and_over_clusters():
    suites = {"all": [ranked("a", right=9, wrong=1), ranked("b", right=1, wrong=3), written("g")]}
    results = evaluate_suites(Scripted(), suites, step=7)
    overall = results.averages["all"]
    assert overall.value == pytest.approx((0.9 + 0.25 + 2 / 3) / 3)
    assert overall.example_mean == pytest.approx((9 + 1 + 2) / (10 + 4 + 3))
    assert overall.chance == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert (overall.tasks, overall.n) == (3, 17)
    assert overall.clusters["c"].value == pytest.approx(10 / 14)
    assert overall.clusters["d"].tasks == 1
    assert overall.interval[0] < overall.value < overall.interval[1]


def test_a_task_in_two_suites_is_predicted_once():
    predictor, shared = Scripted(), ranked("a")
    results = evaluate_suites(predictor, {"x": [shared], "y": [ranked("b"), shared]}, step=0)
    assert predictor.calls == [8]
    assert results.suites["x"][0] is results.suites["y"][1]


def test_two_tasks_of_one_name_and_empty_suites_are_refused():
    with pytest.raises(UserError, match="second, different task named 'r'"):
        evaluate_suites(Scripted(), {"x": [ranked()], "y": [ranked(right=7)]}, step=0)
    with pytest.raises(UserError, match="Suite 'x' has no tasks"):
        evaluate_suites(Scripted(), {"x": []}, step=0)


def test_results_survive_the_disk(tmp_path):
    results = evaluate_suites(Scripted(), {"held_in": [ranked()], "held_out": [written()]}, step=12)
    folder = write_results(tmp_path, results)
    assert folder == step_folder(tmp_path, 12) == tmp_path / "eval" / "12"
    assert saved_steps(tmp_path) == [12]
    back = read_results(tmp_path, 12)
    assert back.averages == results.averages
    for suite, members in results.suites.items():
        assert back.suites[suite] == [dataclasses.replace(member, predictions=()) for member in members]
        for member in members:
            assert tuple(read_predictions(tmp_path, 12, member.name)) == member.predictions
    row = json.loads((folder / "results.json").read_text())["suites"]["held_in"][0]
    expected = {"task", "cluster", "metric", "value", "chance", "majority", "interval", "n", "per_template"}
    assert expected <= row.keys()
    assert row["per_template"] == {"0": 1.0, "1": 1.0, "5": 0.0}
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_results_that_were_read_cannot_be_averaged_again(tmp_path):
    write_results(tmp_path, evaluate_suites(Scripted(), {"x": [ranked()]}, step=0))
    with pytest.raises(ValueError, match="no sample"):
        average(read_results(tmp_path, 0).suites["x"])


def test_reading_what_is_not_there_or_not_ours(tmp_path):
    with pytest.raises(UserError, match=r"no results of step 3\. Run"):
        read_results(tmp_path, 3)
    write_results(tmp_path, evaluate_suites(Scripted(), {"x": [ranked()]}, step=5))
    with pytest.raises(UserError, match="It has results of steps 5"):
        read_results(tmp_path, 3)
    (tmp_path / "eval" / "5" / "results.json").write_text('{"step": 5}')
    with pytest.raises(UserError, match="is not a results file"):
        read_results(tmp_path, 5)
    with pytest.raises(UserError, match="is missing"):
        next(read_predictions(tmp_path, 5, "nothing"))
    (tmp_path / "eval" / "5" / "predictions" / "r.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="line 1 is not a prediction"):
        next(read_predictions(tmp_path, 5, "r"))
