"""Which measured records stand in training texts, by each definition."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.data.decontamination.overlap import SHORTEST, OverlapIndex

RECORD = "The river rose in March, and nobody had moved the boats."


def label(text, *training, **options):
    index = OverlapIndex([[text]], **options)
    index.scan(training)
    (found,) = index.labels()
    return found


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        (f"Read this. {RECORD} What rose?", "exact"),
        (RECORD.replace(" ", "\n "), "exact"),
        (f"“{RECORD.upper()}”", "normalized"),
        (RECORD.replace(",", ""), "normalized"),
        (RECORD.replace("March", "April"), "clean"),
        ("", "clean"),
    ],
)
def test_a_record_is_found_word_for_word_or_normalized(training, expected):
    assert label(RECORD, training) == expected


def test_texts_are_not_joined_to_find_one():
    first, second = RECORD.split(", ")
    assert label(RECORD, first + ",", second) == "clean"


def test_n_grams_are_counted_against_a_share():
    words = [f"word{number}" for number in range(30)]
    text, training = " ".join(words), " ".join([*words[5:20], "else"])
    assert label(text, training) == "ngram"  # three of its 18 n-grams of 13 words
    assert label(text, training, n=16) == "clean"
    assert label(text, training, share=2 / 18) == "ngram"
    assert label(text, training, share=3 / 18) == "clean"


def test_any_text_of_a_record_has_n_grams_and_the_longest_is_looked_for_as_a_whole():
    side = " ".join(f"side{number}" for number in range(14))
    long = " ".join(f"long{number}" for number in range(20))
    index = OverlapIndex([[side, long]])
    index.scan([side])
    assert index.labels() == ["ngram"]
    index.scan([long])
    assert index.labels() == ["exact"]


def test_short_records_are_told_apart_from_clean_ones_and_never_scanned_for():
    short = OverlapIndex([["one two three four five"], []])
    assert not short
    short.scan(["one two three four five"])
    assert short.labels() == ["short", "short"]
    assert OverlapIndex([["one two three four five six"]])


@given(st.integers(0, 2**32), st.integers(SHORTEST, 40), st.integers(1, 20))
def test_a_record_that_stands_in_a_text_is_found_whatever_is_around_it(seed, length, n):
    rng = random.Random(seed)
    words = [rng.choice("abcdefgh") + rng.choice("xyz") for _ in range(3 * length)]
    start = rng.randrange(2 * length + 1)
    record, text = " ".join(words[start : start + length]), " ".join(words)
    # Few different words, so that other windows repeat too: what is not in the text at all stays clean.
    index = OverlapIndex([[record], ["q" + record.replace(" ", " q")]], n=n)
    index.scan([text])
    assert index.labels() == ["exact", "clean"]
