"""Online data mixing: traces computed by hand, and a bandit whose rewards are known."""

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.mixing.online.odm import OnlineDataMixing

VARIANTS = ("paper", "exp3", "smoothed_mean")
PRIOR = np.array([0.5, 0.3, 0.2])
ROUNDS = ((10, (2.0, 1.0, 0.5)), (20, (1.5, None, 0.25)), (30, (1.0, 3.0, None)))
# From the formulas in the class's description, one number at a time, with forty digits.
TRACES = {
    "paper": (
        (0.333333333333, 0.333333333333, 0.333333333333),
        (0.333333333333, 0.333333333333, 0.333333333333),
        (0.335032796813, 0.336936693982, 0.328030509205),
    ),
    "exp3": (
        (0.336762181674, 0.333566760452, 0.329671057874),
        (0.346571597019, 0.326851555755, 0.326576847226),
        (0.340035968800, 0.343706138716, 0.316257892484),
    ),
    "smoothed_mean": (
        (0.459060157291, 0.289844291177, 0.251095551532),
        (0.533252364051, 0.232487406043, 0.234260229906),
        (0.334352816589, 0.506513747966, 0.159133435445),
    ),
}
REWARDS = {
    "paper": (1.029, 1.2, 0.3),
    "exp3": (1.133958853450, 1.251181190313, 0.325833165827),
    "smoothed_mean": (1.273693743190, 2.253199056880, 0.276787456032),
}


def begun(**settings):
    method = OnlineDataMixing(**settings)
    method.begin(PRIOR)
    return method


def losses(values):
    return np.array([np.nan if value is None else value for value in values])


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_follow_the_formula(variant):
    method = begun(variant=variant)
    for (step, values), expected in zip(ROUNDS, TRACES[variant], strict=True):
        np.testing.assert_allclose(method.update(losses(values), step), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(method.rewards, REWARDS[variant], rtol=0, atol=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_state_continues_to_the_last_digit(variant):
    straight, broken = begun(variant=variant), begun(variant=variant)
    for step, values in ROUNDS[:2]:
        straight.update(losses(values), step), broken.update(losses(values), step)
    resumed = begun(variant=variant)
    resumed.restore(broken.state())
    step, values = ROUNDS[2]
    assert resumed.update(losses(values), step).tolist() == straight.update(losses(values), step).tolist()
    assert resumed.state() == straight.state()


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_are_shares_and_know_no_order(variant):
    rng = np.random.default_rng(0)
    prior = rng.dirichlet(np.ones(40))
    ours, theirs, order = OnlineDataMixing(variant=variant), OnlineDataMixing(variant=variant), rng.permutation(40)
    ours.begin(prior), theirs.begin(prior[order])
    for step in range(100, 2100, 100):
        drawn = np.where(rng.random(40) < 0.3, np.nan, rng.exponential(2.0, 40))
        weights, shuffled = ours.update(drawn, step), theirs.update(drawn[order], step)
        assert weights.sum() == pytest.approx(1)
        assert weights.min() >= ours.exploration * (1 - 1e-12)
        np.testing.assert_allclose(weights[order], shuffled, rtol=1e-12)


def play(variant, rewards, turns, seed=0):
    """Draws one unit a turn by the weights in force; returns the weights at the end and the mean reward."""
    rng, method, total = np.random.default_rng(seed), OnlineDataMixing(variant=variant), 0.0
    weights = np.full(len(rewards), 1 / len(rewards))
    method.begin(weights)
    for turn in range(1, turns + 1):
        drawn = rng.choice(len(rewards), p=weights)
        seen = np.full(len(rewards), np.nan)
        seen[drawn] = rewards[drawn]
        total += rewards[drawn]
        weights = method.update(seen, turn)
    return weights, total / turns


def test_a_bandit_goes_where_theory_says():
    rewards = np.array([1.0, 4.0, 9.0])
    # Exp3 adds rewards up: it ends on the best unit, all but the exploration, and its regret is below the bound
    # 2 sqrt(e - 1) sqrt(K T ln K) on rewards from 0 to 1 (Auer et al. 2002, corollary 3.2), here tenths.
    weights, mean = play("exp3", rewards, 4000)
    assert weights[2] > 0.9
    assert (9.0 - mean) / 10 * 4000 < 2 * np.sqrt((np.e - 1) * 3 * 4000 * np.log(3))
    # A moving average is no sum: as exploration ends, weights go to the mean's own proportions, or to equal ones.
    weights, _ = play("smoothed_mean", np.log([1.0, 4.0, 9.0]), 20000)
    np.testing.assert_allclose(weights, np.array([1, 4, 9]) / 14, atol=0.02)
    early, _ = play("paper", rewards, 50)
    assert early[2] > early[0]
    late, _ = play("paper", rewards, 20000)
    assert np.ptp(late) < np.ptp(early)


def test_nothing_seen_changes_no_reward():
    method = begun(variant="smoothed_mean")
    weights = method.update(np.full(3, np.nan), 1000)
    assert weights.argsort().tolist() == PRIOR.argsort().tolist()
    assert not method.rewards.any()


def test_settings_are_checked():
    with pytest.raises(UserError, match=r"smoothing is 0\.5, but variant 'exp3'"):
        OnlineDataMixing(variant="exp3", smoothing=0.5)
    with pytest.raises(UserError, match=r"OnlineDataMixing\.period is 0"):
        OnlineDataMixing(period=0)
    with pytest.raises(UserError, match=r"Did you mean 'cluster'"):
        OnlineDataMixing(units="clusters")
    assert OnlineDataMixing(units="cluster").settings() == {
        "method": "OnlineDataMixing", "period": 100, "units": "cluster", "variant": "paper", "smoothing": 0.9,
    }  # fmt: skip
