import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.mixing.policies import Equal, Proportional
from flan_jax.mixing.resolve import rates, weights

SIZES = {"small": 100, "middle": 5000, "large": 30_000}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Proportional(cap=3000), {"small": 100 / 6100, "middle": 3000 / 6100, "large": 3000 / 6100}),
        (Proportional(), {"small": 100 / 35_100, "middle": 5000 / 35_100, "large": 30_000 / 35_100}),
        # scale first, cap second, temperature last: the roots of 50, 2500, 3000 are 7.07107, 50, 54.77226
        (
            Proportional(cap=3000, temperature=2, scale=0.5),
            {"small": 0.0632230, "middle": 0.4470540, "large": 0.4897231},
        ),
        (Equal(), {"small": 1 / 3, "middle": 1 / 3, "large": 1 / 3}),
    ],
)
def test_golden_shares(policy, expected):
    assert weights(policy, SIZES, {}) == pytest.approx(expected, abs=1e-7)


def test_an_explicit_rate_is_in_the_policy_s_unit():
    assert weights(Proportional(cap=3000), SIZES, {"small": 6000}) == pytest.approx(
        {"small": 0.5, "middle": 0.25, "large": 0.25}
    )
    assert weights(Equal(), SIZES, {"small": 2, "large": 0}) == pytest.approx(
        {"small": 2 / 3, "middle": 1 / 3, "large": 0}
    )


def test_flan_2022_sources_keep_their_published_weights():
    published = {"flan2021": 0.40, "t0": 0.32, "niv2": 0.20, "cot": 0.05, "dialog": 0.03}
    assert weights(Proportional(), dict.fromkeys(published, 7), published) == pytest.approx(published)


sizes = st.dictionaries(st.text(min_size=1, max_size=5), st.integers(1, 10**9), min_size=1, max_size=30)
policies = st.builds(
    Proportional, cap=st.none() | st.integers(1, 10**8), temperature=st.floats(0.5, 100), scale=st.floats(0.01, 100)
)


@given(sizes, policies)
def test_shares_sum_to_one_and_keep_the_order_of_sizes(sizes, policy):
    shares = weights(policy, sizes, {})
    assert list(shares) == list(sizes)
    assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-12)
    by_size = sorted(sizes, key=sizes.__getitem__)
    assert all(shares[a] <= shares[b] * (1 + 1e-12) for a, b in itertools.pairwise(by_size))


@given(sizes)
def test_a_high_temperature_tends_to_equal_shares(sizes):
    hot, hotter = (weights(Proportional(temperature=t), sizes, {}) for t in (10, 1e9))
    assert list(hotter.values()) == pytest.approx([1 / len(sizes)] * len(sizes), rel=1e-6)
    spread = [max(shares.values()) - min(shares.values()) for shares in (weights(Proportional(), sizes, {}), hot)]
    assert len(set(sizes.values())) == 1 or spread[1] < spread[0]


@given(sizes, policies, st.floats(1e-3, 1e3))
def test_explicit_rates_are_relative(sizes, policy, factor):
    raw = rates(policy, sizes, {})
    assert weights(policy, sizes, {name: rate * factor for name, rate in raw.items()}) == pytest.approx(
        weights(policy, sizes, {})
    )


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_a_rate_that_is_no_rate_is_refused(bad):
    with pytest.raises(UserError, match=r"'small'.*finite number of at least 0"):
        weights(Equal(), SIZES, {"small": bad})


def test_all_zero_rates_are_refused():
    with pytest.raises(UserError, match="Every task has the rate 0"):
        weights(Equal(), SIZES, dict.fromkeys(SIZES, 0))


def test_an_empty_task_is_named_with_the_remedy():
    with pytest.raises(UserError, match=r"'small' has no examples.*rate 0"):
        weights(Proportional(), {**SIZES, "small": 0}, {})
    with pytest.raises(UserError, match="'small' has no examples"):
        weights(Proportional(), {**SIZES, "small": 0}, {"small": 3})
    assert weights(Proportional(), {"small": 0, "large": 5}, {"small": 0}) == {"small": 0, "large": 1}


def test_an_unknown_explicit_task_is_answered_with_a_near_one():
    with pytest.raises(UserError, match="Did you mean 'middle'"):
        weights(Equal(), SIZES, {"midle": 1})


@pytest.mark.parametrize(
    "bad", [{"cap": 0}, {"cap": -3}, {"temperature": 0}, {"temperature": math.nan}, {"scale": math.inf}]
)
def test_bad_policies_are_refused(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        Proportional(**bad)


def test_a_temperature_that_overflows_says_so():
    with pytest.raises(UserError, match="overflow"):
        weights(Proportional(temperature=0.001), SIZES, {})


def test_no_tasks_are_refused():
    for read in (rates, weights):
        with pytest.raises(UserError, match="at least one task"):
            read(Equal(), {}, {})


def test_a_policy_s_rates_are_checked_before_they_are_divided():
    class Owing:
        def rates(self, sizes):
            return dict.fromkeys(sizes, -1.0)

    with pytest.raises(UserError, match="'small' has the rate -1"):
        rates(Owing(), SIZES, {})
