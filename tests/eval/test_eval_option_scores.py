"""Ways to choose an option, and the probabilities that follow, against cases computed by hand and in a second way."""

import dataclasses
import math

import numpy as np
import pytest
from eval_toys import CONFIG, encode
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.eval.examples import EvalExample, EvalTask
from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.option_scores import (
    OPTION_SCORES,
    RANK_METRICS,
    ScoredOptions,
    calibration_error,
    judge_options,
    option_notes,
    priors_wanted,
    probability_metrics,
    rank_metrics,
)
from flan_jax.eval.runner import evaluate


def example(options, references, index=0):
    return EvalExample(np.array([5, 1]), tuple(options), tuple(references), index, 0)


def scored(options, sums, tokens=None, priors=None):
    given = (None if values is None else np.array(values, float) for values in (tokens, priors))
    return ScoredOptions(tuple(options), np.array(sums, float), *given)


LONG = "a very long answer"
BY_HAND = scored(["no", LONG], [-2.0, -3.0], tokens=[1, 6], priors=[-1.0, -2.5])


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("sum", [-2.0, -3.0]),
        ("per_token", [-2.0, -0.5]),
        ("per_character", [-1.0, -3.0 / 18]),
        ("unconditional", [-1.0, -0.5]),
    ],
)
def test_what_is_compared(way, expected):
    np.testing.assert_allclose(BY_HAND.values(way), expected)


def test_the_accuracy_of_every_way_and_the_probability_of_the_chosen_one():
    """The long option is right: only the sum prefers the short one."""
    examples = [example(["no", LONG], [LONG])]
    judged = judge_options(examples, METRICS.get("accuracy"))
    found = rank_metrics([BY_HAND], judged, "sum")
    assert {name: found[name] for name in found if name.startswith("accuracy")} == {
        "accuracy_per_token": 1.0, "accuracy_per_character": 1.0, "accuracy_unconditional": 1.0
    }  # fmt: skip
    share = 1 / (1 + math.e)
    assert found["choice_probability"] == pytest.approx(share)
    assert found["brier"] == pytest.approx(2 * (1 - share) ** 2)
    assert found["calibration_error"] == pytest.approx(1 - share)  # "no" is chosen with this confidence, and wrong
    other = rank_metrics([BY_HAND], judged, "per_token")
    assert other["accuracy_sum"] == 0.0
    assert other["choice_probability"] == pytest.approx(1 / (1 + math.exp(-1.5)))
    assert set(found) | set(other) == set(RANK_METRICS)
    known = scored(["no", LONG], [-2.0, -3.0])
    assert known.ways() == ["sum", "per_character"]


def test_calibration_error_of_bins_by_hand():
    """Two bins of fifteen: ten answers at 0.9 of which seven are right, ten at 0.5 of which six are."""
    confidence = np.array([0.9] * 10 + [0.5] * 10)
    correct = np.array([True] * 7 + [False] * 3 + [True] * 6 + [False] * 4)
    assert calibration_error(confidence, correct) == pytest.approx((0.2 * 10 + 0.1 * 10) / 20)
    # The edge of a bin belongs to the bin below it.
    assert calibration_error(np.array([2 / 15, 2 / 15 + 1e-9]), np.array([True, False])) == pytest.approx(0.5, abs=1e-6)


def test_options_that_the_metric_cannot_tell_apart_are_one_outcome():
    options = ["Yes.", "no", "yes", "no", "perhaps"]
    (judged,) = judge_options([example(options, ["yes"])], METRICS.get("exact_match"))
    assert judged.accepted.tolist() == [True, False, True, False, False]
    assert judged.same_as.tolist() == [0, 1, 0, 1, 4]
    (strict,) = judge_options([example(options, ["yes"])], METRICS.get("accuracy"))
    assert strict.accepted.tolist() == [False, False, True, False, False]
    assert strict.same_as.tolist() == [0, 1, 2, 1, 4]
    own = scored(options, np.log([0.1, 0.2, 0.3, 0.2, 0.2]))
    # "no" is listed twice: its probability counts once, 0.1 + 0.2 + 0.3 + 0.2 are all.
    assert probability_metrics([own], [judged], "sum")["choice_probability"] == pytest.approx(0.4 / 0.8)
    assert probability_metrics([own], [strict], "sum")["choice_probability"] == pytest.approx(0.3 / 0.8)
    (note,) = option_notes([own], [judged], "sum")
    assert note.startswith("1 examples have options that the metric cannot tell apart")


def test_what_cannot_be_scored_is_counted_as_wrong_and_said():
    examples = [example("ab", "a", 0), example("ab", "x", 1), example("ab", "a", 2)]
    judged = judge_options(examples, METRICS.get("accuracy"))
    rows = [scored("ab", [math.nan, -1.0]), scored("ab", [-1.0, -2.0]), scored("ab", [-1.0, -1.0])]
    found = rank_metrics(rows, judged, "sum")
    assert found["accuracy_per_character"] == pytest.approx(1 / 3)
    assert found["choice_probability"] == pytest.approx(0.5 / 3)
    share = 1 / (1 + math.exp(-1))
    assert found["brier"] == pytest.approx((share**2 + (1 - share) ** 2 + 1 + 0.5) / 2)
    notes = option_notes(rows, judged, "sum")
    assert [note.split(";")[0].split(",")[0] for note in notes] == [
        "1 examples have option scores that are not numbers",
        "1 examples have equal best scores",
        "1 examples have no accepted answer among their options",
    ]
    assert set(rank_metrics(rows[:1], judged[:1], "sum")) == {"accuracy_per_character", "choice_probability"}


ROWS = st.lists(
    st.tuples(st.lists(st.floats(-30, 5), min_size=2, max_size=6), st.integers(0, 5)), min_size=1, max_size=30
)


@given(ROWS)
def test_probabilities_agree_with_a_second_way(rows):
    """Against sums written out, without bins as arrays; and any shift of an example's scores changes nothing."""
    examples, own = [], []
    for index, (sums, right) in enumerate(rows):
        options = [f"o{place}" for place in range(len(sums))]
        examples.append(example(options, [options[right % len(sums)]], index))
        own.append(scored(options, sums))
    judged = judge_options(examples, METRICS.get("accuracy"))
    found = probability_metrics(own, judged, "sum")
    mean, brier, bins = 0.0, 0.0, {}
    for sums, right in rows:
        shares = [math.exp(value) / sum(map(math.exp, sums)) for value in sums]
        right %= len(sums)
        mean += shares[right] / len(rows)
        brier += sum((share - (place == right)) ** 2 for place, share in enumerate(shares)) / len(rows)
        best = sums.index(max(sums))
        if abs(15 * shares[best] - round(15 * shares[best])) < 1e-9:
            return  # on an edge, where rounding decides
        bins.setdefault(math.ceil(15 * shares[best]), []).append((shares[best], best == right))
    error = sum(
        abs(sum(confidence for confidence, _ in members) - sum(hit for _, hit in members)) for members in bins.values()
    )
    assert found["choice_probability"] == pytest.approx(mean, abs=1e-9)
    assert found["brier"] == pytest.approx(brier, abs=1e-9)
    assert found["calibration_error"] == pytest.approx(error / len(rows), abs=1e-9)
    shifted = [dataclasses.replace(row, sums=row.sums - 7.5) for row in own]
    again = probability_metrics(shifted, judged, "sum")
    assert again["brier"] == pytest.approx(found["brier"], abs=1e-9)


def test_priors_are_computed_where_they_are_cheap_or_asked_for():
    few = [example(["yes", "no"], ["yes"], index) for index in range(3)]
    many = [example([f"{index} {place}" for place in range(4)], ["x"], index) for index in range(20)]
    assert priors_wanted(few, "sum")
    assert not priors_wanted(many, "sum")
    assert priors_wanted(many, "unconditional")


class Counted:
    """A predictor that notes how many options it scores behind each prompt."""

    def __init__(self, predictor):
        self._predictor = predictor
        self.asked = []

    def __getattr__(self, name):
        return getattr(self._predictor, name)

    def answer_batches(self, request, examples, skip=()):
        self.asked += [(tuple(example.inputs), example.options) for example in examples]
        return self._predictor.answer_batches(request, examples, skip)


def test_a_prior_is_the_score_behind_an_empty_prompt_and_computed_once(predictor, examples):
    """An encoder reads the end-of-sequence token alone, as it would behind an input without words."""
    shared = [dataclasses.replace(one, options=("w3 w4", "w5"), references=("w5",)) for one in examples]
    tasks = [EvalTask(name, "c", "accuracy", "rank", shared) for name in "ab"]
    model = Counted(predictor)
    first, _ = evaluate(model, tasks, option_score="unconditional")
    alone = [asked for asked in model.asked if asked[0] == (CONFIG.eos_id,)]
    assert alone == [((CONFIG.eos_id,), ("w3 w4",)), ((CONFIG.eos_id,), ("w5",))]
    empty = dataclasses.replace(shared[0], inputs=np.array([CONFIG.eos_id]))
    for prediction in first.predictions:
        np.testing.assert_allclose(prediction.prior_scores, predictor.rank([empty])[0], rtol=1e-5)
        assert prediction.option_tokens == (len(encode("w3 w4")) + 1, 2)
        gain = np.subtract(prediction.option_scores, prediction.prior_scores)
        assert prediction.prediction == prediction.options[int(gain.argmax())]
    assert first.value == pytest.approx(np.mean([p.prediction == "w5" for p in first.predictions]))
    assert set(first.metrics) == set(RANK_METRICS)
    by_way = {way: evaluate(predictor, tasks[:1], option_score=way)[0].value for way in OPTION_SCORES}
    assert by_way["unconditional"] == first.value
    assert {first.metrics[f"accuracy_{way}"] == by_way[way] for way in OPTION_SCORES} == {True}


class Plain:
    def rank(self, examples, advance):
        return [np.array([0.0, -1.0])] * len(examples)

    def rank_notes(self, examples):
        return []


def test_a_model_that_tells_no_tokens_is_scored_by_what_it_tells():
    task = EvalTask("t", "c", "accuracy", "rank", [example("ab", "a")])
    (result,) = evaluate(Plain(), [task], option_score="per_character")
    assert set(result.metrics) == {"accuracy_sum", "accuracy_per_character", "choice_probability", "brier",
                                   "calibration_error"}  # fmt: skip
    assert result.predictions[0].option_tokens == ()
    with pytest.raises(UserError, match="option_score='per_token' needs the tokens of options, which a Plain"):
        evaluate(Plain(), [task], option_score="per_token")
