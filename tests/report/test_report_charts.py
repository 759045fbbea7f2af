import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.report.charts import loss_chart, score_bar, thinned, ticks

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


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_and_inside(low, width):
    high = low + width
    found = ticks(low, high)
    assert 2 <= len(found) <= 6
    if high > low:
        assert found == sorted(set(found))
        assert min(found) >= low - 1e-6 * max(1, abs(low), width)
        assert max(found) <= high + 1e-6 * max(1, abs(high), width)


@given(st.lists(st.one_of(st.just([]), POINTS), min_size=1, max_size=8).filter(any))
def test_curves_stay_inside_the_picture(curves):
    svg = loss_chart([(str(index), points) for index, points in enumerate(curves)])
    for path in re.findall(r'points="([^"]*)"', svg):
        for pair in path.split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= 480
            assert 0 <= y <= 240
    assert "nan" not in svg


def test_a_falling_loss_falls_on_the_page():
    svg = loss_chart([("r", [(0, 4.0), (10, 1.0)])])
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in re.search(r'points="([^"]*)"', svg)[1].split())
    assert x0 < x1
    assert y0 < y1  # SVG counts downwards


def test_the_bar_puts_scores_where_they_belong():
    svg = score_bar(0.5, (0.25, 1.0), 0.0, before=0.25)
    assert 'cx="75.0" cy="9.0" r="4"' in svg
    assert 'x1="40.5" x2="144.0"' in svg
    assert 'x1="6.0" x2="6.0"' in svg
    assert "50.0, interval 25.0 to 100.0; chance 0.0; before 25.0" in svg
