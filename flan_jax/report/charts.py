"""Inline SVG charts: loss curves, and score bars with intervals from 0 to 100."""

import itertools
import math
from collections.abc import Sequence

from flan_jax.report.html import Markup, element
from flan_jax.report.tables import interval_text, percent

SERIES_COLORS = 6
Series = tuple[str, Sequence[tuple[int, float]]]

_WIDTH, _HEIGHT = 480, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 10, 10, 34
_MOST_POINTS = 400
_BAR_WIDTH, _BAR_HEIGHT, _BAR_EDGE = 150, 18, 6


def loss_chart(series: Sequence[Series]) -> Markup:
    """Draws curves of (step, loss) with axes; the i-th has the CSS class ``series-i`` (modulo six).

    A run without points draws nothing and keeps its number. Long curves are averaged over equal
    stretches of steps, so that the page stays small.
    """
    curves = [(name, thinned(points)) for name, points in series]
    steps = [step for _, points in curves for step, _ in points]
    losses = [loss for _, points in curves for _, loss in points]
    x_ticks, y_ticks = ticks(min(steps), max(steps)), ticks(min(losses), max(losses))
    x_low, x_high = min(steps), max(max(steps), min(steps) + 1)
    y_low, y_high = min(y_ticks[0], min(losses)), max(y_ticks[-1], max(losses))

    def x(step: float) -> float:
        return round(_LEFT + (step - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(loss: float) -> float:
        return round(_TOP + (y_high - loss) / (y_high - y_low) * (_HEIGHT - _TOP - _BOTTOM), 1)

    parts = []
    for tick in y_ticks:
        parts.append(element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y(tick), y2=y(tick), class_="grid"))
        parts.append(element("text", f"{tick:g}", x=_LEFT - 6, y=y(tick) + 4, text_anchor="end"))
    for tick in x_ticks:
        parts.append(element("text", f"{tick:,g}", x=x(tick), y=_HEIGHT - _BOTTOM + 15, text_anchor="middle"))
    parts.append(element("text", "step", x=_WIDTH - _RIGHT, y=_HEIGHT - 4, text_anchor="end"))
    for index, (name, points) in enumerate(curves):
        if not points:
            continue
        path = " ".join(f"{x(step)},{y(loss)}" for step, loss in points)
        tip = f"{name}: {points[0][1]:.3f} at step {points[0][0]}, {points[-1][1]:.3f} at step {points[-1][0]}"
        css = f"curve series-{index % SERIES_COLORS}"
        if len(points) == 1:
            step, loss = points[0]
            parts.append(element("circle", element("title", tip), cx=x(step), cy=y(loss), r=3, class_=css))
        else:
            parts.append(element("polyline", element("title", tip), points=path, class_=css))
    return element(
        "svg", *parts, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", class_="chart", role="img", aria_label="Training loss by step"
    )


def thinned(points: Sequence[tuple[int, float]], most: int = _MOST_POINTS) -> list[tuple[int, float]]:
    """Thins a curve to at most ``most`` points: means over equal numbers of neighbours; the first and last steps stay.

    >>> thinned([(0, 4.0), (1, 2.0), (2, 1.0), (3, 0.0)], most=2)
    [(0, 3.0), (3, 0.5)]
    """
    if len(points) <= most:
        return list(points)
    edges = [len(points) * index // most for index in range(most + 1)]
    thin = []
    for index, (start, stop) in enumerate(itertools.pairwise(edges)):
        part = points[start:stop]
        step = part[0][0] if index == 0 else part[-1][0]
        thin.append((step, math.fsum(loss for _, loss in part) / len(part)))
    return thin


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Chooses axis ticks: about ``count`` round numbers between ``low`` and ``high``.

    >>> ticks(0, 2000)
    [0.0, 500.0, 1000.0, 1500.0, 2000.0]
    """
    if high <= low:
        return [float(low), float(low) + 1]
    rough = (high - low) / (count - 1)
    scale = 10 ** math.floor(math.log10(rough))
    step = next(factor * scale for factor in (1, 2, 2.5, 5, 10) if factor * scale >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    found = [float(round(index * step, 10)) for index in range(first, last + 1)]
    return found if len(found) > 1 else [float(low), float(high)]


def score_bar(
    value: float, interval: tuple[float, float], chance: float | None, *, before: float | None = None, color: int = 0
) -> Markup:
    """Draws a score bar from 0 to 100%: the score (dot), its interval (bar), chance (tick), the score before (ring)."""

    def x(score: float) -> float:
        return round(_BAR_EDGE + min(max(score, 0.0), 1.0) * (_BAR_WIDTH - 2 * _BAR_EDGE), 1)

    middle, (low, high) = _BAR_HEIGHT / 2, interval
    words = [f"{percent(value)}, interval {interval_text(interval)}"]
    parts = [
        element("line", x1=x(0), x2=x(1), y1=middle, y2=middle, class_="grid"),
        element("line", x1=x(low), x2=x(high), y1=middle, y2=middle, class_=f"interval series-{color % SERIES_COLORS}"),
    ]
    if chance is not None:
        words.append(f"chance {percent(chance)}")
        parts.append(element("line", x1=x(chance), x2=x(chance), y1=2, y2=_BAR_HEIGHT - 2, class_="chance"))
    if before is not None:
        words.append(f"before {percent(before)}")
        parts.append(element("circle", cx=x(before), cy=middle, r=3.5, class_="ring"))
    parts.append(element("circle", cx=x(value), cy=middle, r=4, class_=f"dot series-{color % SERIES_COLORS}"))
    label = "; ".join(words)
    return element(
        "svg",
        element("title", label),
        *parts,
        viewBox=f"0 0 {_BAR_WIDTH} {_BAR_HEIGHT}",
        width=_BAR_WIDTH,
        height=_BAR_HEIGHT,
        class_="bar",
        role="img",
        aria_label=label,
    )
