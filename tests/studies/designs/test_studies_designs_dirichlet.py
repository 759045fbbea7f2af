"""Draws of weights: RegMix's recipe by hand, on the simplex, inside the bounds, and distributed as Dirichlet says."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flan_jax.errors import UserError
from flan_jax.studies.designs.dirichlet import DIGITS, Simplex

PRIOR = {"web": 0.64, "code": 0.25, "books": 0.1, "chat": 0.01}


def test_the_recipe_by_hand():
    simplex = Simplex(PRIOR)
    # p ** 0.5 is 0.8, 0.5, 0.316228, 0.1, by their sum 1.716228, for units by name: books, chat, code, web.
    assert simplex.units == ("books", "chat", "code", "web")
    assert simplex.base == pytest.approx([0.184257, 0.0582673, 0.291337, 0.466139], rel=1e-5)
    # Fifteen strengths from 0.1 to 5, each 50 ** (1 / 14) = 1.322376 times the one before.
    assert len(simplex.strength_values) == 15
    assert simplex.strength_values[[0, 1, 7, 14]] == pytest.approx([0.1, 0.1322376, 0.7071068, 5.0], rel=1e-6)
    assert simplex.min_weight == 2e-4


def test_small_weights_are_none():
    cut = Simplex(PRIOR)._cut(np.array([0.5, 0.0001999, 0.0002, 0.4996001]))
    assert cut.tolist() == [0.5001, 0.0, 0.0002, 0.4997]


def test_marginals_are_beta_distributions():
    # Of Dirichlet(s · q) unit i is Beta(s q_i, s (1 - q_i)): scipy's, which has no part in the draws.
    simplex = Simplex(PRIOR, strength=(5.0, 5.0), min_weight=0.0)
    drawn = [simplex.draw(0, place) for place in range(1500)]
    for unit, share in zip(simplex.units, simplex.base, strict=True):
        found = stats.kstest([draw[unit] for draw in drawn], stats.beta(5 * share, 5 * (1 - share)).cdf)
        # Rounding to six decimals moves little but the tiniest weights of a unit that is nearly never drawn.
        assert found.statistic < 0.05 or unit == "chat", unit
    assert np.mean([draw["chat"] for draw in drawn]) == pytest.approx(simplex.base[1], abs=0.01)


def test_tiny_strengths_draw_corners():
    corner = Simplex(PRIOR, strength=(1e-4, 1e-4)).draw(0, "corner")
    assert sorted(corner.values()) == [0.0, 0.0, 0.0, 1.0]


priors = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0.01, 1), min_size=2, max_size=8).map(
    lambda raw: {unit: value / sum(raw.values()) for unit, value in raw.items()}
)


@given(priors, st.integers(0, 2**32 - 1), st.floats(0.1, 2), st.data())
def test_draws_are_on_the_simplex_inside_the_bounds_and_of_their_names(prior, seed, temperature, data):
    highest = {unit: data.draw(st.floats(0.6, 1)) for unit in prior}
    lowest = {min(prior): data.draw(st.floats(0, 0.2))}
    simplex = Simplex(prior, temperature, lowest=lowest, highest=highest, strength=(1.0, 20.0))
    drawn = simplex.draw(seed, 3)
    assert list(drawn) == list(prior)
    assert sum(drawn.values()) == pytest.approx(1, abs=1e-9)
    for unit, weight in drawn.items():
        assert lowest.get(unit, 0) - 1e-6 <= weight <= highest[unit] + 1e-6
        assert weight == 0 or weight >= simplex.min_weight * 0.99
        assert weight == round(weight, DIGITS)
    turned = dataclasses.replace(simplex, prior=dict(reversed(prior.items())), highest=dict(reversed(highest.items())))
    assert turned.draw(seed, 3) == drawn  # the order of names decides nothing
    assert simplex.draw(seed, 3) == drawn


def test_a_unit_without_prior_is_never_drawn():
    simplex = Simplex({"a": 0.5, "b": 0.5, "c": 0.0})
    assert {simplex.draw(0, place)["c"] for place in range(20)} == {0.0}


@pytest.mark.parametrize(
    ("bounds", "sentence"),
    [
        (
            {"lowest": {"web": 0.7}, "highest": {"web": 0.6}},
            "'web' would need a weight of at least 0.7 and at most 0.6",
        ),
        ({"lowest": {"web": 0.7, "code": 0.4}}, "least weights sum to 1.1, more than 1. Lower some, that of 'web'"),
        (
            {"highest": {"web": 0.3, "code": 0.3, "books": 0.2, "chat": 0.1}},
            "largest weights sum to 0.9, less than 1. Raise some, that of 'chat'",
        ),
        (
            {"lowest": {"chat": 0.9}, "tries": 200, "strength": (5.0, 5.0)},
            "None of 200 draws .* is 'chat' at least 0.9",
        ),
        (
            {"highest": {"web": 1e-4}, "tries": 200, "strength": (5.0, 5.0)},
            "None of 200 draws .* is 'web' at most 0.0001",
        ),
    ],
)
def test_a_space_without_a_point_names_the_bound(bounds, sentence):
    with pytest.raises(UserError, match=sentence):
        Simplex(PRIOR, **bounds).draw(0)
