"""Answers behind "the answer is", as benchmarks with a chain of thought compare them."""

import pytest

from flan_jax.eval.metrics.registry import METRICS

CASES = [
    ("stripped_match", " (B)\n", "(B)", 1),
    ("stripped_match", "(B).", "(B)", 0),
    ("stripped_match", "b", "B", 0),
    ("stated_answer", "We pop them. So the answer is ] ) ).", "] ) )", 1),
    ("stated_answer", "So the answer is ] ) }.", "] ) )", 0),  # marks are the answer here
    ("stated_answer", "The answer is: Yes", "Yes", 1),
    ("stated_answer", "the answer is No. Wait, the answer is Yes.", "Yes", 1),
    ("stated_answer", "the answer is Yes.\nQuestion over", "Yes", 1),
    ("stated_answer", "So the answer is yes.", "Yes", 0),
    ("stated_answer", "Yes", "Yes", 0),
    ("stated_answer", "", "Yes", 0),
    ("stated_answer", "So the answer is 3.5.", "3.5", 1),
    ("choice_answer", "A and B do. The answer is (C).", "(C)", 1),
    ("choice_answer", "The answer is C.", "(C)", 1),
    ("choice_answer", "The answer is (c).", "(C)", 1),
    ("choice_answer", "The answer is (C), not (B).", "(B)", 0),
    ("choice_answer", "The answer is cold.", "(C)", 0),
    ("choice_answer", "(C)", "(C)", 0),
    ("choice_answer", "The answer is", "(C)", 0),
    ("stated_number", "He has 6. The answer is $1,018.00.", "1018", 1),
    ("stated_number", "The answer is -3.", "-3", 1),
    ("stated_number", "The answer is 3.", "-3", 0),
    ("stated_number", "The answer is .5 of it", "0.5", 1),
    ("stated_number", "The answer is 5 + 2 = 7.", "7", 0),  # the first, as published
    ("stated_number", "It is 7", "7", 0),
    ("stated_number", "The answer is unknown.", "7", 0),
    ("last_number", "First 3, then 1,018 eggs.", "1018", 1),
    ("last_number", "It is 7 or 8", "7", 0),
    ("last_number", "", "7", 0),
]


@pytest.mark.parametrize(("name", "prediction", "reference", "expected"), CASES)
def test_what_is_stated_is_compared(name, prediction, reference, expected):
    assert METRICS.get(name)([prediction], [[reference]]) == expected
