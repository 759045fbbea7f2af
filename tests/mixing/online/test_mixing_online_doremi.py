"""DoReMi's update on numbers computed by hand."""

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.mixing.online.doremi import DoReMi

PRIOR = np.array([0.5, 0.3, 0.2])
EXCESS = ((0.3, 0.0, 0.1), (0.2, None, 0.4), (None, 0.5, 0.0))
# From the formula in the class's description, one number at a time, with forty digits: weights, and their mean.
PAPER = (
    ((0.390636472770, 0.289477010617, 0.319886516613), (0.390636472770, 0.289477010617, 0.319886516613)),
    ((0.383547015629, 0.232833570171, 0.383619414199), (0.387091744200, 0.261155290394, 0.351752965406)),
    ((0.378983117454, 0.310612808209, 0.310404074337), (0.384388868618, 0.277641129666, 0.337970001716)),
)
REPOSITORY = (
    ((0.564316324852, 0.250852006376, 0.184831668772), (0.532158162426, 0.275426003188, 0.192415834386)),
    ((0.566872066753, 0.206331604069, 0.226796329178), (0.543729463868, 0.252394536815, 0.203875999317)),
    ((0.549765388420, 0.270130546663, 0.180104064917), (0.545238445006, 0.256828539277, 0.197933015717)),
)


@pytest.mark.parametrize(
    ("settings", "trace"),
    [({}, PAPER), ({"variant": "repository", "smoothing": 1e-4, "initial_excess": 5.0}, REPOSITORY)],
)
def test_weights_follow_the_formula(settings, trace):
    method = DoReMi(reference="there", **settings)
    method.begin(PRIOR)
    resumed = DoReMi(reference="there", **settings)
    for step, (values, (weights, mean)) in enumerate(zip(EXCESS, trace, strict=True), 1):
        resumed.begin(np.array([0.1, 0.1, 0.8]))
        resumed.restore(method.state())
        losses = np.array([np.nan if value is None else value for value in values])
        found = method.update(losses, step)
        np.testing.assert_allclose(found, weights, rtol=0, atol=1e-9)
        np.testing.assert_allclose(method.result, mean, rtol=0, atol=1e-9)
        assert resumed.update(losses, step).tolist() == found.tolist()


def test_it_begins_with_equal_weights_or_with_the_mixtures():
    for variant, weights in (("paper", [1 / 3] * 3), ("repository", PRIOR.tolist())):
        method = DoReMi(reference="there", variant=variant)
        method.begin(PRIOR)
        assert method.initial_weights.tolist() == weights


def test_without_smoothing_a_weight_may_come_down_to_nothing():
    method = DoReMi(reference="there", smoothing=0.0, rate=1000.0)
    method.begin(PRIOR)
    for step in range(5):
        weights = method.update(np.array([0.0, 1.0, 0.5]), step)
    assert weights.tolist() == [0.0, 1.0, 0.0]


def test_a_proxy_needs_a_reference():
    with pytest.raises(UserError, match=r"DoReMi\.reference names no run"):
        DoReMi()
