import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.report.series import thinned

POINTS = st.lists(st.floats(-50, 50), min_size=1, max_size=900).map(lambda losses: list(enumerate(losses)))


@given(POINTS, st.integers(2, 50))
def test_thinning_keeps_ends_order_and_mean(points, most):
    thin = thinned(points, most)
    assert len(thin) == min(most, len(points))
    assert thin[0][0] == points[0][0]
    assert thin[-1][0] == points[-1][0]
    assert [step for step, _ in thin] == sorted({step for step, _ in thin})
    if len(points) % most == 0:
        assert math.fsum(loss for _, loss in thin) / len(thin) == pytest.approx(
            math.fsum(loss for _, loss in points) / len(points), abs=1e-9
        )
