"""Limits on proposals: within caps by hand, nearest in KL, and repeats as tokens allow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.studies.proposals.constraints import Limits, kl_divergence, repeat_caps, within

SHARES = st.lists(st.floats(0.01, 1), min_size=5, max_size=5)


@given(SHARES, SHARES)
def test_what_is_within_caps_sums_to_one_and_keeps_the_order_of_ratios(raw: list[float], room: list[float]) -> None:
    weights, caps = np.array(raw) / sum(raw), np.array(room)
    if caps.sum() < 1.0001:
        return
    found = within(weights, caps)
    assert found.sum() == pytest.approx(1)
    assert (found <= caps + 1e-9).all()
    free = found < caps - 1e-9
    ratios = (found / weights)[free]  # what no cap holds is raised by one factor
    assert ratios == pytest.approx(np.full(len(ratios), ratios[0] if len(ratios) else 1.0), rel=1e-6)


def test_the_capped_mixture_is_the_nearest_in_kl_divergence() -> None:
    weights, caps = np.array([0.7, 0.2, 0.1]), np.array([0.4, 0.35, 1.0])
    found = within(weights, caps)
    assert found == pytest.approx([0.4, 0.35, 0.25])
    others = np.random.default_rng(0).dirichlet([8, 7, 5], 4000)
    others = others[(others <= caps).all(axis=1)]
    assert len(others) > 100
    assert (kl_divergence(others, weights) >= kl_divergence(found, weights) - 1e-9).all()


def test_units_without_weight_fill_what_the_caps_leave() -> None:
    assert within(np.array([1.0, 0.0, 0.0]), np.array([0.5, 1.0, 0.0])) == pytest.approx([0.5, 0.5, 0.0])


def test_kl_divergence_by_hand() -> None:
    assert kl_divergence(np.array([1.0, 0.0]), np.array([0.25, 0.75])) == pytest.approx(np.log(4))
    assert kl_divergence(np.array([0.25, 0.75]), np.array([0.25, 0.75])) == pytest.approx(0)


def test_repeats_limit_a_share_to_repeats_times_tokens_over_the_run() -> None:
    caps = repeat_caps(("a", "b"), {"b": 1e6, "a": 50_000}, repeats=4, target_tokens=1e6)
    assert caps.tolist() == [0.2, 1.0]
    with pytest.raises(UserError, match=r"fill only 40[.]0% of the run"):
        Limits.of(("a", "b"), np.array([0.5, 0.5]), caps / [1, 5])
    with pytest.raises(UserError, match="says nothing of the unit 'a'"):
        repeat_caps(("a", "b"), {"b": 1.0}, repeats=4, target_tokens=1)
    with pytest.raises(UserError, match="Did you mean 'sentiment'"):
        repeat_caps(("sentiment",), {"sentimnt": 1.0}, repeats=4, target_tokens=1)
    with pytest.raises(UserError, match="--repeats is 0"):
        repeat_caps(("a",), {"a": 1.0}, repeats=0, target_tokens=1)


def test_a_prior_beyond_a_cap_is_cut_and_a_unit_outside_it_gets_nothing() -> None:
    limits = Limits.of(("a", "b", "c"), np.array([0.8, 0.2, 0.0]), np.array([0.5, 1.0, 1.0]))
    assert limits.prior == pytest.approx([0.5, 0.5, 0.0])
    assert limits.caps.tolist() == [0.5, 1.0, 0.0]
