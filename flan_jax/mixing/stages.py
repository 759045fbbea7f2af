"""Staged mixtures: weights as a function of the step, piecewise constant or linear, given as data."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from flan_jax.errors import UserError

StageShape = Literal["constant", "linear"]
Stages = tuple[tuple[int, Mapping[str, float]], ...]
"""(step, unit → rate): after that many steps the named units are drawn in these proportions, and no other."""


def parse_stages(given: Any, what: str = "run.stages") -> Stages:
    """Returns stages from pairs, as a gin file or JSON has them.

    Raises:
        UserError: no pair of a step and rates, steps out of order, or unusable rates.
    """
    stages: list[tuple[int, Mapping[str, float]]] = []
    for stage in given:
        if not isinstance(stage, Sequence) or len(stage) != 2 or not isinstance(stage[1], Mapping):
            raise UserError(
                f"{what} holds {stage!r}; a stage is a step and rates: (1000, {{'flan': 0.9, 'cot': 0.1}})."
            )
        step, rates = stage
        if not isinstance(step, int) or isinstance(step, bool) or step < 0:
            raise UserError(f"{what} holds a stage from step {step!r} on; that must be a whole number of at least 0.")
        if stages and step <= stages[-1][0]:
            raise UserError(
                f"{what} has step {step} behind step {stages[-1][0]}. Put the stages in order, each step once."
            )
        for unit, rate in rates.items():
            if not isinstance(rate, int | float) or isinstance(rate, bool) or not math.isfinite(rate) or rate < 0:
                raise UserError(f"{what} gives {unit!r} the rate {rate!r} from step {step} on; it must be at least 0.")
        if not any(rates.values()):
            raise UserError(f"{what} draws from nothing from step {step} on. Give a unit a positive rate.")
        stages.append((step, {str(unit): float(rate) for unit, rate in rates.items()}))
    return tuple(stages)


@dataclasses.dataclass(frozen=True, eq=False)
class StageSchedule:
    """The weights of K tasks at every step.

    Attributes:
        steps: [n] where each stage begins, rising.
        weights: [n, K] float64, the shares of the tasks there; they sum to 1.
        interval: steps between two changes where weights go linearly from stage to stage; 0 where each stage keeps its own.
    """

    steps: tuple[int, ...]
    weights: np.ndarray
    interval: int

    @classmethod
    def of(
        cls, stages: Stages, shape: StageShape, interval: int, spread: Callable[[str], np.ndarray]
    ) -> "StageSchedule":
        """Makes a schedule of stages.

        Args:
            stages: at least one.
            shape: of the weights from one stage to the next.
            interval: steps between two changes of a linear one.
            spread: unit → [K] the shares of its tasks in it, which sum to 1.

        Raises:
            UserError: of ``spread``; two units of a stage share a task.
        """
        rows = []
        for step, rates in stages:
            parts = {unit: spread(unit) for unit in rates}
            _check_apart(step, parts)
            row = np.sum([rate * parts[unit] for unit, rate in rates.items()], axis=0)
            rows.append(row / row.sum())
        return cls(tuple(step for step, _ in stages), np.array(rows), interval if shape == "linear" else 0)

    def change_at(self, step: int) -> np.ndarray | None:
        """[K] the weights from ``step`` on, where they are others than before it; else ``None``."""
        at = int(np.searchsorted(self.steps, step, side="right")) - 1
        if at < 0:
            return None
        since = step - self.steps[at]
        between = self.interval and at + 1 < len(self.steps) and since % self.interval == 0
        return self.weights_at(step) if since == 0 or between else None

    def weights_at(self, step: int) -> np.ndarray | None:
        """[K] the weights in force after ``step`` steps; ``None`` before the first stage, where the mixture's own hold."""
        at = int(np.searchsorted(self.steps, step, side="right")) - 1
        if at < 0:
            return None
        if not self.interval or at + 1 == len(self.steps):
            return self.weights[at]
        began, ends = self.steps[at], self.steps[at + 1]
        done = (step - began) // self.interval * self.interval / (ends - began)
        return (1 - done) * self.weights[at] + done * self.weights[at + 1]

    def changes_until(self, step: int) -> list[int]:
        """Lists the steps up to ``step`` at which weights change, in order."""
        found = []
        for at, began in enumerate(self.steps):
            ends = self.steps[at + 1] if at + 1 < len(self.steps) else began + 1
            found += list(range(began, ends, self.interval or ends - began))
        return [change for change in found if change <= step]


def _check_apart(step: int, parts: Mapping[str, np.ndarray]) -> None:
    """Refuses two units of a stage that share a task, which would have two rates."""
    names = list(parts)
    for index, unit in enumerate(names):
        for other in names[:index]:
            if (parts[unit] * parts[other]).any():
                raise UserError(
                    f"run.stages gives rates to both {other!r} and {unit!r} from step {step} on, and they share a task. Name one."
                )
