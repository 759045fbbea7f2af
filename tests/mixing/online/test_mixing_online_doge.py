"""DoGE's update against the formulas worked out by loops, and a bandit of gradients whose answer is known."""

import math

import numpy as np
import pytest

from flan_jax.mixing.online.doge import DoGE

PRIOR = np.array([0.5, 0.3, 0.2])
# Gradients of three units in two dimensions, round by round; the second unit is absent from the second batch.
ROUNDS = (
    ((1.0, 2.0), (0.5, -1.0), (-3.0, 0.25)),
    ((0.5, 0.5), None, (1.5, -0.5)),
    ((9.0, 1.0), (8.0, 2.0), (0.0, 0.125)),
)


def products_of(gradients):
    rows = np.array([(math.nan, math.nan) if each is None else each for each in gradients])
    return np.array([[float(a @ b) for b in rows] for a in rows])


def by_loops(gradients, weights, *, variant, rate):
    """The same update, a number at a time."""
    present = [g for g in gradients if g is not None]
    norm = sum(math.hypot(*g) for g in present) / len(present) + 1e-6
    raised = []
    for gradient, weight in zip(gradients, weights, strict=True):
        score = 0.0
        for other in present if gradient is not None else ():
            if variant == "paper" or other is not gradient:
                score += sum(a * b for a, b in zip(gradient, other, strict=True))
        if variant == "repository":
            score = min(max(score / norm, 0.0), 5.0)
        raised.append(weight * math.exp(rate * score))
    return [each / sum(raised) for each in raised]


@pytest.mark.parametrize("variant", ["paper", "repository"])
def test_weights_follow_the_formula_and_resume_to_the_last_digit(variant):
    method, resumed = DoGE(variant=variant, rate=0.1), DoGE(variant=variant, rate=0.1)
    method.begin(PRIOR)
    assert method.initial_weights.tolist() == [1 / 3] * 3
    assert method.result is None
    expected, means = [1 / 3] * 3, []
    for step, gradients in enumerate(ROUNDS, 1):
        resumed.begin(PRIOR)
        resumed.restore(method.state())
        expected = by_loops(gradients, expected, variant=variant, rate=0.1)
        means.append(expected)
        found = method.update(products_of(gradients), step)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
        np.testing.assert_allclose(method.result, np.mean(means, axis=0), rtol=0, atol=1e-9)
        assert resumed.update(products_of(gradients), step).tolist() == found.tolist()


@pytest.mark.parametrize("variant", ["paper", "repository"])
def test_weights_go_to_the_unit_that_helps_all(variant):
    """One direction serves all three units in part, and is the whole of the first one's gradient."""
    gradients = np.array([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.5, 0.0, -1.0]])
    method = DoGE(variant=variant, rate=0.2)
    method.begin(PRIOR)
    against = gradients @ np.diag([1.0, 0.0, 0.0]) @ gradients.T + np.diag([0.0, 0.1, 0.1])
    for step in range(200):
        weights = method.update(against, step)
    assert weights[0] > 0.99
