"""What a rate counts: examples, tokens or epochs; shares of draws come out in every unit."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.mixing.mixture import Entry, Mixture
from flan_jax.mixing.policies import Equal, Proportional, UniMax
from flan_jax.mixing.units import UNITS, from_draws, to_draws

SIZES = {"a_zs_opt": 100, "b_zs_opt": 300}
TOKENS = {"a_zs_opt": 10.0, "b_zs_opt": 50.0}


@pytest.fixture
def pair(make_task):
    """A mixture of ``a`` and ``b``."""

    def make(policy, unit, *rates):
        entries = [Entry(make_task(name), rate) for name, rate in zip("ab", rates or (None, None), strict=True)]
        return Mixture("m", tuple(entries), policy, unit=unit)

    return make


@pytest.mark.parametrize(
    ("policy", "unit", "rates", "drawn"),
    [
        (Equal(), "examples", {"a_zs_opt": 1, "b_zs_opt": 1}, (1, 1)),
        # the same number of tokens: five times as many of the short examples
        (Equal(), "tokens", {"a_zs_opt": 1, "b_zs_opt": 1}, (5, 1)),
        (Proportional(), "tokens", {"a_zs_opt": 1000, "b_zs_opt": 15_000}, (1, 3)),
        (Proportional(cap=2000), "tokens", {"a_zs_opt": 1000, "b_zs_opt": 2000}, (100, 40)),
        (UniMax(1, 3000), "tokens", {"a_zs_opt": 1000, "b_zs_opt": 2000}, (100, 40)),
        # as many passes over each
        (Equal(), "epochs", {"a_zs_opt": 1, "b_zs_opt": 1}, (1, 3)),
    ],
)
def test_units_worked_by_hand(pair, policy, unit, rates, drawn):
    mixture = pair(policy, unit)
    assert mixture.rates(SIZES, TOKENS) == pytest.approx(rates)
    shares = mixture.weights(SIZES, TOKENS)
    assert list(shares.values()) == pytest.approx([value / sum(drawn) for value in drawn])


def test_explicit_rates_are_in_the_mixture_s_unit(pair):
    assert pair(Equal(), "tokens", 4, None).weights(SIZES, TOKENS)["a_zs_opt"] == pytest.approx(0.4 / (0.4 + 0.02))
    assert pair(Equal(), "epochs", 6, None).weights(SIZES) == pytest.approx({"a_zs_opt": 2 / 3, "b_zs_opt": 1 / 3})
    # Every rate is explicit, so the default policy, which has no epochs to give, is not asked.
    assert pair(Proportional(), "epochs", 2, 1).weights(SIZES) == pytest.approx({"a_zs_opt": 0.4, "b_zs_opt": 0.6})


task_facts = st.tuples(st.integers(1, 10**7), st.floats(1, 5000), st.floats(0.001, 1000))


@given(st.lists(task_facts, min_size=1, max_size=20), st.sampled_from(UNITS))
def test_shares_are_what_the_unit_asks_for(facts, unit):
    sizes = {str(index): size for index, (size, _, _) in enumerate(facts)}
    means = {str(index): mean for index, (_, mean, _) in enumerate(facts)}
    rates = {str(index): rate for index, (_, _, rate) in enumerate(facts)}
    draws = to_draws(unit, rates, sizes, means)
    realized = {
        "examples": draws,
        "tokens": {name: draws[name] * means[name] for name in draws},
        "epochs": {name: draws[name] / sizes[name] for name in draws},
    }[unit]
    assert realized == pytest.approx(rates)
    assert from_draws(unit, draws, sizes, means) == pytest.approx(rates)


@pytest.mark.parametrize("unit", UNITS)
def test_a_rate_of_zero_is_no_draws_and_back_and_needs_no_facts(unit):
    assert to_draws(unit, {"a": 0.0}, {}, {}) == from_draws(unit, {"a": 0.0}, {}, {}) == {"a": 0.0}


@pytest.mark.parametrize("read", ["rates", "weights", "curriculum_weights", "entry_rates", "entry_weights", "caps"])
def test_whatever_counts_tokens_needs_lengths(pair, read):
    mixture = dataclasses.replace(pair(Equal(), "tokens"), curriculum=(("a_zs_opt", 1.0),))
    with pytest.raises(UserError, match="mean tokens of task 'a_zs_opt' are not known"):
        getattr(mixture, read)(SIZES)


def test_tokens_need_lengths_and_say_where_from(pair):
    with pytest.raises(UserError, match=r"'m' counts its rates in tokens.*'a_zs_opt' are not known.*flan-jax prepare"):
        pair(Equal(), "tokens").weights(SIZES)
    for bad in (0.0, math.nan, math.inf):
        with pytest.raises(UserError, match="mean tokens of task 'b_zs_opt' are"):
            pair(Equal(), "tokens").weights(SIZES, {**TOKENS, "b_zs_opt": bad})
    # What is left out needs neither size nor length.
    assert pair(Equal(), "tokens", None, 0).weights({"a_zs_opt": 5}, {"a_zs_opt": 2}) == {"a_zs_opt": 1, "b_zs_opt": 0}


@pytest.mark.parametrize("policy", [Proportional(), UniMax(2, 100)])
def test_sizes_give_no_epochs(pair, policy):
    with pytest.raises(
        UserError, match=rf"in epochs, but {type(policy).__name__} gives them from sizes. Use Equal\(\)"
    ):
        pair(policy, "epochs")
    with pytest.raises(UserError, match="gives them from sizes"):  # of one entry too
        pair(policy, "epochs", 0, None)


def test_an_unknown_unit_is_answered_with_a_near_one(pair):
    with pytest.raises(UserError, match="Did you mean 'tokens'"):
        pair(Equal(), "token")


def test_a_curriculum_is_in_the_mixture_s_unit(pair):
    curriculum = (("b_zs_opt", 1.0), ("a_zs_opt", 1.0))
    for unit, first in (("examples", 1 / 2), ("tokens", 5 / 6), ("epochs", 1 / 4)):
        mixture = dataclasses.replace(pair(Equal(), unit), curriculum=curriculum)
        assert mixture.curriculum_weights(SIZES, TOKENS) == pytest.approx({"a_zs_opt": first, "b_zs_opt": 1 - first})
    assert pair(Equal(), "examples").curriculum_weights(SIZES) == {}


def test_a_policy_of_one_s_own_sees_all_sizes_at_once(pair):
    class Rank:
        def rates(self, sizes):
            return {name: 1.0 + sorted(sizes.values()).index(size) for name, size in sizes.items()}

    assert pair(Rank(), "examples").weights(SIZES) == pytest.approx({"a_zs_opt": 1 / 3, "b_zs_opt": 2 / 3})
    assert pair(Rank(), "epochs").weights(SIZES) == pytest.approx({"a_zs_opt": 1 / 7, "b_zs_opt": 6 / 7})


def test_a_policy_that_is_none_is_refused(pair):
    class Forgetful:
        def rates(self, sizes):
            return {}

    class Negative:
        def rates(self, sizes):
            return dict.fromkeys(sizes, -1.0)

    with pytest.raises(UserError, match=r"Write Proportional\(\), Equal\(\)"):
        pair(Equal, "examples")
    with pytest.raises(UserError, match="must give a rate to each of the 2 tasks"):
        pair(Forgetful(), "examples").weights(SIZES)
    with pytest.raises(UserError, match="'a_zs_opt' has the rate -1"):
        pair(Negative(), "examples").weights(SIZES)
