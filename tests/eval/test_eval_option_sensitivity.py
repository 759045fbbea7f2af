"""Orders of options: what a score varies by, and how often the same option is chosen whatever its place."""

import numpy as np
import pytest

from flan_jax.eval.examples import EvalExample
from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.option_sensitivity import option_sensitivity
from flan_jax.tasks.rendering.option_orders import OptionOrder

ACCURACY = METRICS.get("accuracy")
LETTERS = ("A", "B", "C", "D")


def sensitivity(examples, answers, ranked=True):
    rows = ACCURACY.statistics(answers, [example.references for example in examples])
    return option_sensitivity(ACCURACY, rows, examples, answers, ranked=ranked)


def lettered(question, number, places, template):
    right = LETTERS[places.index(0)]
    return EvalExample(np.ones(1), LETTERS, (right,), question, template, option_order=OptionOrder(number, places))


def test_agreement_counts_the_option_and_not_its_letter():
    orders = [(0, 1, 2, 3), (3, 2, 1, 0)]
    # As MMLU is asked: an order stands where a template does.
    asked = [lettered(question, number, orders[number], number) for question in (0, 1) for number in (0, 1)]
    # The first question gets option 0 in both orders; the second always the letter A.
    found = sensitivity(asked, ["A", "D", "A", "A"])
    assert found.metrics["order_agreement"] == 0.5
    assert (found.metrics["order_lowest"], found.metrics["order_highest"]) == (0.5, 1.0)
    assert found.metrics["order_spread"] == pytest.approx(np.std([1.0, 0.5], ddof=1))
    (note,) = found.notes
    assert note.startswith(
        "2 prompts are asked in 2 orders of the options, of which order 0 is the published one: from 50.0 to 100.0"
    )
    once = [example for example in asked if example.option_order.number == 0]
    assert sensitivity(once, ["A", "A"]).metrics == {}


def test_prompts_of_several_templates_are_compared_each_with_itself():
    words, texts = ("yes", "no", "maybe"), OptionOrder
    asked = [
        EvalExample(np.ones(1), words, ("yes",), question, template, option_order=texts(number, (0, 1, 2)))
        for question in (0, 1)
        for template in (3, 5)
        for number in (0, 1)
    ]
    # Under template 3 the answer of question 1 changes with the order; templates may differ from each other.
    answers = ["yes", "yes", "no", "no", "yes", "no", "yes", "yes"]
    found = sensitivity(asked, answers)
    assert found.metrics["order_agreement"] == 0.75
    assert (found.metrics["order_lowest"], found.metrics["order_highest"]) == (0.5, 0.75)
    assert "order_agreement" not in sensitivity(asked, answers, ranked=False).metrics


def test_prompts_with_fewer_orders_are_left_out_and_counted():
    asked = [
        EvalExample(np.ones(1), ("yes", "no"), ("yes",), 0, 0, option_order=OptionOrder(0, (0, 1))),
        EvalExample(np.ones(1), ("yes", "no"), ("yes",), 0, 0, option_order=OptionOrder(1, (0, 1))),
        EvalExample(np.ones(1), ("yes", "no"), ("yes",), 1, 1, option_order=OptionOrder(0, ())),
    ]
    found = sensitivity(asked, ["yes", "no", "no"])
    assert (found.metrics["order_highest"], found.metrics["order_lowest"]) == (1.0, 0.0)
    assert "1 prompts list fewer options" in found.notes[0]
