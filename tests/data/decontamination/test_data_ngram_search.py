"""Texts inside longer ones: the index finds exactly what a slow search finds."""

from hypothesis import given
from hypothesis import strategies as st

from flan_jax.data.decontamination.ngram_search import NgramIndex

few_words = st.lists(st.sampled_from("abc"), max_size=12).map(" ".join)


@given(st.lists(few_words, max_size=6), st.lists(few_words, max_size=6), st.integers(1, 4))
def test_indexed_texts_are_found_exactly_where_a_slow_search_finds_them(texts, others, window):
    indexed = [text for text in dict.fromkeys(texts) if text and text.count(" ") + 1 >= window]
    expected = {(tag, known) for tag, other in enumerate(others) for known in indexed if f" {known} " in f" {other} "}
    found = list(NgramIndex(texts, window).search(enumerate(others)))
    assert set(found) == expected
    assert len(found) == len(expected)
