from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from flan_jax.tasks.hashing import counter_hash, finish_hash, hash_prefix

part = st.one_of(st.integers(), st.text(max_size=5))


def test_a_hash_stays_what_it_is():
    """Every prepared store and every run depends on it."""
    assert counter_hash(0, "rte", 7) == 9996400725233039030
    assert counter_hash("", "ü\n") == 11779156907488446776


@given(st.lists(part, min_size=1, max_size=4), part)
def test_a_begun_hash_ends_as_the_whole_one(parts, last):
    begun = hash_prefix(*parts)
    assert finish_hash(begun, "something else") != finish_hash(begun, last) == counter_hash(*parts, last)


def test_parts_are_told_apart_and_small_changes_spread():
    assert (
        len({counter_hash("a", "bc"), counter_hash("ab", "c"), counter_hash("abc"), counter_hash("a", "b", "c")}) == 4
    )
    drawn = Counter(counter_hash("template", 0, "rte", index) % 10 for index in range(5000))
    assert min(drawn.values()) > 420
    assert max(drawn.values()) < 580
