"""Tasks that bring their own measure: what the model is asked, what results hold, what is not averaged."""

import json
import math

import numpy as np
import pytest
from test_eval_runner import Scripted, example, ranked, written

from flan_jax.errors import UserError
from flan_jax.eval.examples import EvalExample, EvalTask
from flan_jax.eval.metrics.task_metrics import RESAMPLES, headline, resampled_interval
from flan_jax.eval.option_scores import RANK_METRICS
from flan_jax.eval.results import read_predictions, read_results, write_results
from flan_jax.eval.runner import evaluate
from flan_jax.eval.suites import evaluate_suites


class Percent:
    """The share of the texts that are their row's letter, as per cent, and what else was asked for."""

    notes = ("Counts letters.",)

    def __init__(self, letters, outputs=("text",), **more):
        self.letters, self.outputs, self.more = letters, frozenset(outputs), more

    def __call__(self, rows, texts, scores):
        values = {"title": "letters"}
        if "text" in self.outputs:
            values["hits"] = 100 * float(
                np.mean([self.is_correct(row, text) for row, text in zip(rows, texts, strict=True)])
            )
        if "score" in self.outputs:
            values["mean"] = float(np.mean(scores))
        return {**values, **self.more}

    def is_correct(self, row, text):
        return text == self.letters[row]


class Scoring(Scripted):
    def loglikelihood(self, examples, advance):
        self.calls.append(len(examples))
        advance(len(examples))
        return np.array([-float(len(example.targets)) for example in examples])


def own(name="own", letters="abab", outputs=("text",), **more):
    rows = [
        EvalExample(np.array([5, 1]), (), (letter,), i, 0, f"{'a' if i < 3 else 'b'} more", np.arange(i + 1))
        for i, letter in enumerate(letters)
    ]
    return EvalTask(name, "c", "", "generate", rows, Percent(letters, outputs, **more))


def test_values_are_kept_on_their_scale_with_an_interval():
    predictor, steps = Scoring(), []
    tasks = [ranked("r"), own("own", outputs=("text", "score")), written("w")]
    results = evaluate(predictor, tasks, progress=lambda done, total: steps.append((done, total)))
    assert predictor.calls == [4, 7, 4]
    assert steps[-1] == (15, 15)
    result = results[1]
    assert (result.metric, result.value, result.native_scale, result.n) == ("hits", 75.0, True, 4)
    assert result.metrics == {"title": "letters", "hits": 75.0, "mean": -2.5}
    low, high = result.interval
    assert 0 <= low < 75 < high <= 100
    assert [(p.prediction, p.score, p.log_likelihood) for p in result.predictions] == [
        ("a", 1.0, -1.0), ("a", 0.0, -2.0), ("a", 1.0, -3.0), ("b", 1.0, -4.0),
    ]  # fmt: skip
    assert "Counts letters." in result.notes
    assert any(f"{RESAMPLES} resamples" in note for note in result.notes)
    assert not results[0].native_scale
    assert set(results[0].metrics) <= set(RANK_METRICS)
    # What else is measured changes nothing.
    (alone,) = evaluate(Scoring(), [own("own", outputs=("text", "score"))])
    assert alone.interval == result.interval


def test_scores_alone_ask_for_no_text():
    predictor = Scoring()
    (result,) = evaluate(predictor, [own(outputs=("score",))])
    assert predictor.calls == [4]
    assert (result.metric, result.value) == ("mean", -2.5)
    assert [p.prediction for p in result.predictions] == [""] * 4


def test_only_comparable_scores_are_averaged():
    results = evaluate_suites(Scoring(), {"both": [ranked("r"), own()], "own": [own("other")]}, step=0)
    assert set(results.averages) == {"both"}
    assert (results.averages["both"].tasks, results.averages["both"].value) == (1, 0.75)


def test_results_on_disk_hold_every_value(tmp_path):
    task = own(outputs=("text", "score"), broken=math.nan, endless=math.inf)
    results = evaluate_suites(Scoring(), {"s": [task]}, step=3)
    write_results(tmp_path, results)
    (row,) = json.loads((tmp_path / "eval/3/results.json").read_text())["suites"]["s"]
    assert row["metrics"] == {"title": "letters", "hits": 75.0, "mean": -2.5, "broken": None, "endless": None}
    assert row["native_scale"] is True
    (read,) = read_results(tmp_path, 3).suites["s"]
    assert (read.value, read.interval, read.native_scale) == (75.0, results.suites["s"][0].interval, True)
    assert math.isnan(read.metrics["broken"])
    assert list(read_predictions(tmp_path, 3, "own")) == list(results.suites["s"][0].predictions)


def test_results_of_an_earlier_version_keep_their_scale(tmp_path):
    write_results(tmp_path, evaluate_suites(Scoring(), {"s": [ranked("r"), own()]}, step=3))
    path = tmp_path / "eval/3/results.json"
    path.write_text(path.read_text().replace('"native_scale"', '"as_given"'))
    assert [result.native_scale for result in read_results(tmp_path, 3).suites["s"]] == [False, True]


class Fussy(Percent):
    def __call__(self, rows, texts, scores):
        if len(set(rows.tolist())) < len(rows):
            raise KeyError("an example twice")
        return super().__call__(rows, texts, scores)


class Undefined(Percent):
    def __call__(self, rows, texts, scores):
        return {"correlation": math.nan, "name": "none"}


def test_no_interval_where_resampling_says_nothing(tmp_path):
    task = own("fussy")
    task = EvalTask(task.name, task.cluster, "", "generate", task.examples, Fussy("abab"))
    undefined = EvalTask("undefined", "c", "", "generate", task.examples, Undefined("abab"))
    results = evaluate_suites(Scoring(), {"s": [task, undefined]}, step=0)
    first, second = results.suites["s"]
    assert (first.value, first.interval) == (75.0, None)
    assert "hits has no interval: on resampled examples it fails with KeyError." in first.notes
    assert math.isnan(second.value)
    assert second.interval is None
    assert "correlation is not a finite number." in second.notes
    write_results(tmp_path, results)
    read = read_results(tmp_path, 0).suites["s"]
    assert read[0].interval is None
    assert math.isnan(read[1].value)


def test_fewer_resamples_of_many_examples():
    calls = []

    class Counting(Percent):
        def __call__(self, rows, texts, scores):
            calls.append(len(rows))
            return {"hits": float(len(set(rows.tolist())))}

    resampled_interval(Counting("a"), ["a"] * 10, np.zeros(0), count=10, metric="hits", name="few")
    few = len(calls)
    resampled_interval(Counting("a"), (), np.zeros(20_000), count=20_000, metric="hits", name="many")
    assert (few, len(calls) - few) == (RESAMPLES, 50)


def test_the_headline_is_the_first_number():
    assert headline({"note": "text", "f1": 1.5, "em": 2.0}) == ("f1", 1.5)
    name, value = headline({"note": "text"})
    assert name == ""
    assert math.isnan(value)


def test_examples_that_cannot_be_measured():
    empty = EvalExample(np.zeros(0, int), (), (), 4, 0, "", np.array([3, 1]))
    EvalTask("language", "c", "", "generate", [empty], Percent("a", ("score",)))
    with pytest.raises(UserError, match="example 4 has no input, so there is nothing to answer"):
        EvalTask("language", "c", "", "generate", [empty], Percent("a"))
    with pytest.raises(UserError, match="example 0 has no target tokens"):
        EvalTask("scored", "c", "", "generate", [example(0)], Percent("a", ("score",)))


def test_the_score_of_a_target_is_that_of_the_option_with_its_tokens(predictor, examples):
    """And a target that follows nothing has a score too."""
    ranks = predictor.rank(examples)
    targets = [(*predictor.encode(e.options[0])[:5], 1) for e in examples]
    made = [
        EvalExample(e.inputs, (), (), e.example_id, 0, "", np.array(ids, np.uint16))
        for e, ids in zip(examples, targets, strict=True)
    ]
    np.testing.assert_allclose(predictor.loglikelihood(made), [row[0] for row in ranks], rtol=1e-5)
    nothing = [EvalExample(np.zeros(0, np.int32), (), (), i, 0, "", np.array([5, 1])) for i in range(3)]
    scores = predictor.loglikelihood([*nothing, made[0]])
    assert np.isfinite(scores).all()
    assert scores[0] == scores[1] == scores[2] < 0
