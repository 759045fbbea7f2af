"""Aioli's round on numbers computed by hand: probes, the matrix of what they improved, and the weights it leads to."""

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.mixing.online.aioli import Aioli

PRIOR = np.array([0.5, 0.3, 0.2])
START = np.array([3.0, 2.0, 4.0])
# The validation losses behind the probes of units 2, 0 and 1, in this order.
PROBES = ((2, (2.9, 1.95, 3.5)), (0, (2.5, 1.9, 3.4)), (1, (2.45, 1.5, 3.45)))
# Solved row by row with forty digits, from the formulas in the class's description.
WEIGHTS = (0.333852124973, 0.329067226287, 0.337080648739)


def begun(**settings):
    method = Aioli(period=100, probe_steps=10, **settings)
    method.begin(PRIOR)
    return method


def test_a_round_is_its_steps_its_probes_and_new_weights():
    method = begun()
    assert method.interval == 100
    weights = method.update(START, 100)
    method.probes = np.array([float(unit) for unit, _ in PROBES])  # in the order of the numbers above
    weights = np.where(np.arange(3) == 2, 0.625, 0.1875)
    for number, (unit, losses) in enumerate(PROBES, 1):
        assert method.interval == 10
        assert weights.tolist() == [0.625 if each == unit else 0.1875 for each in range(3)]
        resumed = begun()
        resumed.restore(method.state())
        weights = method.update(np.array(losses), 100 + 10 * number)
        assert resumed.update(np.array(losses), 100 + 10 * number).tolist() == weights.tolist()
    np.testing.assert_allclose(weights, WEIGHTS, rtol=0, atol=1e-9)
    assert method.interval == 100


def test_every_unit_is_probed_as_often_as_asked_in_an_order_of_its_seed():
    def order(seed):
        method, found = begun(sweeps=2, seed=seed), []
        weights = method.update(START, 100)
        for step in range(6):
            found.append(int(weights.argmax()))
            weights = method.update(START, 110 + 10 * step)
        assert weights.tolist() == [1 / 3] * 3  # nothing improved
        return found

    assert sorted(order(0)[:3]) == sorted(order(0)[3:]) == [0, 1, 2]
    assert order(0) == order(0)
    assert any(order(seed) != order(0) for seed in range(1, 5))


def test_weights_go_to_the_unit_that_helps_all():
    """Training on a share w of unit 1 lowers every loss by w: the others help nobody."""
    method, losses, step = begun(rate=0.5), START.copy(), 0
    weights = PRIOR
    for _ in range(12):
        for _ in range(4):
            losses = losses - 0.01 * weights[1]
            step += method.interval
            weights = method.update(losses, step)
    assert weights.argmax() == 1
    assert weights[1] > 0.8


def test_settings_are_checked():
    with pytest.raises(UserError, match=r"Aioli\.focus is 0\.3; with 3 units it must be above 0\.333"):
        begun(focus=0.3)
