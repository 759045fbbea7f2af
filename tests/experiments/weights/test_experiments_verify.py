"""What counts as a difference between weights that were written and weights that were read."""

import numpy as np
import pytest

from flan_jax.experiments.weights.verify import value_difference

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("ours", "theirs", "difference"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, NAN, INF], [1.0, NAN, INF], 0.0),
        ([1.0, 2.0], [1.5, 2.0], 0.5),
        ([1.0, NAN], [1.5, NAN], INF),
        ([1.0, NAN], [1.0, 2.0], INF),
        ([1.0, INF], [1.0, -INF], INF),
    ],
)
def test_what_is_no_number_is_equal_to_itself_alone(ours, theirs, difference):
    assert value_difference(np.array(ours, np.float32), np.array(theirs, np.float32)) == difference
