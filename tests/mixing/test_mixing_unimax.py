"""UniMax (arXiv 2304.09151): even shares of a budget, held to a number of epochs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.mixing.mixture import Entry, Mixture
from flan_jax.mixing.policies import UniMax
from flan_jax.mixing.resolve import caps, rates, weights
from flan_jax.mixing.table import rate_table

# Characters of five languages, four epochs, a budget of 250 billion.
CHARACTERS = {"swe": 179955884499, "fas": 184595788282, "ekk": 42541080893, "isl": 10027573389, "fao": 549707867}
GOLDEN = {"swe": 0.2769212, "fas": 0.2769212, "ekk": 0.2769212, "isl": 0.1604412, "fao": 0.0087953}


def one_by_one(sizes: dict[str, int], max_epochs: float, budget: float) -> dict[str, float]:
    """The algorithm as the paper states it: from the smallest task up, an even part of what is left."""
    left, given = budget, {}
    for position, (name, size) in enumerate(sorted(sizes.items(), key=lambda item: item[1])):
        given[name] = min(left / (len(sizes) - position), max_epochs * size)
        left -= given[name]
    return given


def test_golden_shares():
    assert {name: round(share, 7) for name, share in weights(UniMax(4, 250e9), CHARACTERS, {}).items()} == GOLDEN
    assert caps(UniMax(4, 250e9), CHARACTERS) == {"isl": 4 * 10027573389, "fao": 4 * 549707867}


sizes = st.dictionaries(st.text(min_size=1, max_size=4), st.integers(1, 10**9), min_size=1, max_size=30)
epochs = st.floats(0.1, 100)
budgets = st.floats(1, 1e12)


@given(sizes, epochs, budgets)
def test_rates_are_those_of_the_paper(sizes, max_epochs, budget):
    given = UniMax(max_epochs, budget).rates(sizes)
    assert list(given) == list(sizes)
    assert given == pytest.approx(one_by_one(sizes, max_epochs, budget), rel=1e-9)


@given(sizes, epochs, budgets)
def test_no_task_gets_more_than_its_epochs_and_the_budget_is_spent(sizes, max_epochs, budget):
    policy = UniMax(max_epochs, budget)
    given, shares = policy.rates(sizes), weights(policy, sizes, {})
    most = max_epochs * sum(sizes.values())
    assert all(rate <= max_epochs * sizes[name] for name, rate in given.items())
    assert math.fsum(given.values()) == pytest.approx(min(budget, most), rel=1e-9)
    assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-12)
    if budget <= most:
        assert all(share * budget / sizes[name] <= max_epochs * (1 + 1e-9) for name, share in shares.items())


@given(sizes, epochs)
def test_a_small_budget_is_spread_evenly(sizes, max_epochs):
    budget = 0.999 * max_epochs * min(sizes.values()) * len(sizes)
    assert set(UniMax(max_epochs, budget).rates(sizes).values()) == {budget / len(sizes)}


@given(sizes, epochs, st.floats(1.001, 1000))
def test_a_budget_beyond_every_epoch_leaves_shares_proportional_to_size(sizes, max_epochs, factor):
    everything = sum(sizes.values())
    shares = weights(UniMax(max_epochs, factor * max_epochs * everything), sizes, {})
    assert shares == pytest.approx({name: size / everything for name, size in sizes.items()})


@given(sizes, epochs, budgets, st.randoms(use_true_random=False))
def test_order_changes_no_digit(sizes, max_epochs, budget, random):
    shuffled = list(sizes.items())
    random.shuffle(shuffled)
    policy = UniMax(max_epochs, budget)
    assert policy.rates(dict(shuffled)) == policy.rates(sizes)


def test_ties_get_the_same_to_the_last_digit():
    given = UniMax(4, 1000).rates({"a": 70, "b": 3, "c": 70, "d": 70, "e": 70, "f": 70, "g": 70})
    assert len(set(given.values())) == 2


def test_a_rate_of_one_s_own_is_refused_unless_it_leaves_a_task_out(make_task):
    with pytest.raises(UserError, match=r"'ekk' has the rate 3, but UniMax spreads its budget.*nest"):
        rates(UniMax(4, 250e9), CHARACTERS, {"ekk": 3})
    rest = {name: size for name, size in CHARACTERS.items() if name != "ekk"}
    assert weights(UniMax(4, 250e9), CHARACTERS, {"ekk": 0}) == {**weights(UniMax(4, 250e9), rest, {}), "ekk": 0}
    with pytest.raises(UserError, match="'a_zs_opt' has the rate 2"):
        Mixture("m", (Entry(make_task("a"), 2), Entry(make_task("b"))), UniMax(1, 100))


@pytest.mark.parametrize("bad", [(0, 5), (-1, 5), (1, 0), (math.nan, 5), (1, math.inf), (1, "5")])
def test_bad_settings_are_refused(bad):
    with pytest.raises(UserError, match=r"UniMax\((max_epochs|budget)=.*must be a positive number"):
        UniMax(*bad)


def test_a_budget_that_cannot_be_spent_is_noted(make_task):
    entries = (Entry(make_task("a")), Entry(make_task("b")))
    sizes = {"a_zs_opt": 10, "b_zs_opt": 30}
    table = rate_table(Mixture("m", entries, UniMax(2, 100)), sizes, draws=100)
    assert [(row.share, row.cap, row.epochs) for row in table.rows] == [(0.25, 20, 2.5), (0.75, 60, 2.5)]
    (note,) = table.notes
    assert "budget of 100 examples is more than 2 epochs of everything, which are 80" in note
    assert not rate_table(Mixture("m", entries, UniMax(2, 80)), sizes).notes
    outer = Mixture("outer", (Entry(Mixture("m", entries, UniMax(2, 100)), 1),))
    assert rate_table(outer, sizes).notes == table.notes
