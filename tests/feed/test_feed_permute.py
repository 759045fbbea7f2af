import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.feed.permute import fold_in, permute


def permutation(size, *counters):
    return permute(np.arange(size), np.full(size, size), np.broadcast_to(fold_in(*counters), (size,)))


@given(st.integers(1, 5000), st.integers(-(2**63), 2**63), st.integers(0, 10**6))
def test_every_size_is_permuted(size, seed, counter):
    result = permutation(size, seed, counter)
    assert np.array_equal(np.sort(result), np.arange(size))


@given(st.lists(st.tuples(st.integers(1, 2**47), st.integers(0, 2**47), st.integers(0, 99)), min_size=1, max_size=50))
def test_elements_of_one_call_do_not_touch_each_other(elements):
    sizes = np.array([size for size, _, _ in elements])
    indices = np.array([index for _, index, _ in elements]) % sizes
    keys = fold_in(3, np.array([counter for _, _, counter in elements]))
    together = permute(indices, sizes, keys)
    alone = [permute(indices[i : i + 1], sizes[i : i + 1], keys[i : i + 1])[0] for i in range(len(elements))]
    assert together.tolist() == alone
    assert ((together >= 0) & (together < sizes)).all()


def test_golden_values_hold_on_every_machine():
    assert int(fold_in(0, 1, 2)) == 2549061549998628137
    assert permutation(12, 0, 1).tolist() == [0, 9, 4, 3, 8, 1, 7, 5, 10, 6, 11, 2]
    assert permute(np.array([10**9]), np.array([10**12]), fold_in(5, np.array([1])))[0] == 162365961118


def test_keys_depend_on_seed_counter_and_order():
    keys = {int(fold_in(*counters)) for counters in [(0, 1, 2), (0, 2, 1), (1, 1, 2), (0, 1), (0, 1, 2, 0), (-1, 1, 2)]}
    assert len(keys) == 6
    assert fold_in(0, np.arange(3), 7).tolist() == [int(fold_in(0, i, 7)) for i in range(3)]


def test_all_orders_of_a_small_size_are_about_equally_frequent():
    seen: dict[tuple[int, ...], int] = {}
    for counter in range(2400):
        order = tuple(permutation(4, 0, counter).tolist())
        seen[order] = seen.get(order, 0) + 1
    assert len(seen) == 24
    # 100 are expected of each; six standard deviations are 59
    assert all(41 < count < 159 for count in seen.values())


def test_a_permutation_looks_random():
    size, rounds = 1000, 200
    orders = np.stack([permutation(size, 0, counter) for counter in range(rounds)])
    assert (orders == np.arange(size)).sum() == pytest.approx(rounds, abs=6 * rounds**0.5)  # one fixed point each
    assert (np.diff(orders, axis=1) == 1).sum() == pytest.approx(rounds, abs=6 * rounds**0.5)  # one neighbour kept
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in itertools.pairwise(orders)]
    assert abs(np.mean(correlations)) < 6 / (size * rounds) ** 0.5
