"""The protocol of a task's own metrics, such as a seqio task's ``metric_fns``, and their bootstrap interval.

The metrics of ``flan_jax.eval.metrics.registry`` are known by name, run from 0 to 1 and decompose over
examples. A task's own promise none of this: they are called with model outputs and return named
values on a scale of their own; resampling calls them again and again.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np

from flan_jax.tasks.hashing import counter_hash

Output = Literal["text", "score"]
Value = float | str
RESAMPLES = 200
"""At most; a call may take seconds, so few are drawn, and fewer from many examples."""
_MOST_ROWS = 400_000
_FEWEST_RESAMPLES = 50


class TaskMetrics(Protocol):
    """Metrics of a task's own over all of its examples, in the place of a named metric."""

    @property
    def outputs(self) -> frozenset[Output]:
        """The outputs asked of the model for each example: the ``text`` that it writes, the ``score`` of the target, or both.

        A score is the log-likelihood of the target's tokens, in nats.
        """

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for a reader of the values, a sentence each."""

    def __call__(self, rows: np.ndarray, texts: Sequence[str], scores: np.ndarray) -> Mapping[str, Value]:
        """Named values over the examples ``rows``, the headline first.

        Args:
            rows: ``[n]`` indices of examples, which may repeat.
            texts: ``[n]``, what the model wrote to each; empty where ``outputs`` has no ``text``.
            scores: ``[n]`` log-likelihoods; empty where ``outputs`` has no ``score``.
        """

    def is_correct(self, row: int, text: str) -> bool:
        """Tells whether the model's text for an example equals the target, both postprocessed by the task."""


def headline(values: Mapping[str, Value]) -> tuple[str, float]:
    """Returns the name and value of the first number; ``("", nan)`` where there is none."""
    return next(((name, value) for name, value in values.items() if isinstance(value, float)), ("", math.nan))


def resampled_interval(
    task_metrics: TaskMetrics,
    texts: Sequence[str],
    scores: np.ndarray,
    *,
    count: int,
    metric: str,
    name: str,
    seed: int = 0,
) -> tuple[tuple[float, float] | None, str]:
    """Bootstraps one value of a task's own metrics: its 95% percentile interval over examples, and a note about it.

    Args:
        task_metrics: called once a resample.
        texts: of all examples.
        scores: of all examples.
        count: number of examples.
        metric: name of the value.
        name: what tells this draw from others.
        seed: another seed, another set of resamples.

    Returns:
        ((low, high), note), or (``None``, why there is none): a function that reads more than a
        resample of its examples shows may fail on one.
    """
    resamples = min(RESAMPLES, max(_FEWEST_RESAMPLES, _MOST_ROWS // count))
    rng = np.random.Generator(np.random.Philox(key=counter_hash("bootstrap", seed, name)))
    found = []
    for _ in range(resamples):
        rows = rng.integers(count, size=count)
        try:
            values = task_metrics(
                rows, [texts[row] for row in rows] if texts else (), scores[rows] if len(scores) else scores
            )
        except Exception as error:  # somebody else's function, given repeated examples
            return None, f"{metric} has no interval: on resampled examples it fails with {type(error).__name__}."
        value = values.get(metric, math.nan)
        if not isinstance(value, float) or not math.isfinite(value):
            return None, f"{metric} has no interval: on some resampled examples it is not a finite number."
        found.append(value)
    low, high = np.quantile(found, [0.025, 0.975])
    return (float(low), float(high)), f"The interval of {metric} rests on {resamples} resamples of its examples."
