import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.eval.batching import batches, bucket_lengths, pad_rows

LENGTHS = st.lists(st.integers(1, 90), min_size=1, max_size=60)


@given(LENGTHS, st.integers(1, 16))
def test_every_example_is_in_one_batch_and_fits(lengths, batch_size):
    found = list(batches(lengths, batch_size))
    assert sorted(np.concatenate([batch.members for batch in found]).tolist()) == list(range(len(lengths)))
    for members, length in found:
        assert 1 <= len(members) <= batch_size
        assert max(lengths[index] for index in members) <= length
    assert len({batch.length for batch in found}) <= 3


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40), st.integers(1, 8), st.integers(1, 3))
def test_buckets_are_within_a_tenth_of_the_best_ones(lengths, batch_size, most):
    edges = sorted({-(-length // 8) * 8 for length in lengths})

    def cost(buckets):
        counts = np.bincount(np.searchsorted(buckets, lengths), minlength=len(buckets))
        return sum(-(-count // batch_size) * batch_size * bucket for count, bucket in zip(counts, buckets, strict=True))

    choices = (
        (*chosen, edges[-1])
        for size in range(min(most, len(edges)))
        for chosen in itertools.combinations(edges[:-1], size)
    )
    buckets = bucket_lengths(lengths, batch_size, most=most)
    assert len(buckets) <= most
    assert cost(buckets) * 0.9 <= min(map(cost, choices)) + 1e-9 or len(buckets) == most


def test_padding_says_where_rows_end():
    ids, lengths = pad_rows([[5, 0, 6], np.array([7])], (3, 4))
    assert ids.tolist() == [[5, 0, 6, 0], [7, 0, 0, 0], [0, 0, 0, 0]]
    assert lengths.tolist() == [3, 1, 0]
