"""The ``Metric`` type: sufficient statistics of each example, and a score of any sum of them.

A mean is the one-column case; corpus BLEU needs ten columns, a correlation five. So one bootstrap
serves all of them: it resamples rows.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

References = Sequence[Sequence[str]]
ExampleScore = Callable[[str, str], float]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric.

    One of groups (the answers to one question, say) has ``by_group``; its scores are sums over groups, and so
    are the resamples of its interval.

    Attributes:
        name: its name in ``METRICS``.
        statistics: (predictions, references of each) → float64 ``[n, k]``, one row an example.
        aggregate: (sums of rows ``[..., k]``, number of rows) → scores ``[...]`` from 0 to 1;
            correlations run from -1.
        example_scores: rows ``[n, k]`` → ``[n]``, the score of each example alone, from 0 to 1.
        of_rows: rows ``[..., n, k]`` → scores ``[...]``, of a metric that no sums of rows decide, as ranks do;
            ``aggregate`` then is the score of guessing.
        by_group: (rows ``[n, k]``, number of each row's group ``[n]``) → rows ``[groups, k]``, which are what
            ``aggregate`` sums and counts.
        signature: references of each example → how the library behind it computes it, to cite beside the score
            (sacrebleu's signature); ``None`` where the name says it all.
        is_mean: the score is the mean of the only column, so that intervals of shares and means hold for it.
        lowest: the least score there is: 0, or -1 of correlations and differences.
    """

    name: str
    statistics: Callable[[Sequence[str], References], np.ndarray]
    aggregate: Callable[[np.ndarray, int], np.ndarray]
    example_scores: Callable[[np.ndarray], np.ndarray]
    of_rows: Callable[[np.ndarray], np.ndarray] | None = None
    by_group: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    signature: Callable[[References], str] | None = None
    is_mean: bool = False
    lowest: float = 0.0

    def __call__(
        self, predictions: Sequence[str], references: References, groups: Sequence[str] | None = None
    ) -> float:
        """Computes the score of all predictions together; see ``units`` for groups."""
        return self.of(self.units(self.statistics(predictions, references), groups))

    def units(self, statistics: np.ndarray, groups: Sequence[str] | None = None) -> np.ndarray:
        """Returns the rows that are summed, counted and resampled: those of the examples, or of their groups.

        Args:
            statistics: ``[n, k]``, one row an example.
            groups: the name of each example's group; ``""`` for a group of its own, as all are where not given.
        """
        if self.by_group is None:
            return statistics
        return self.by_group(statistics, self.group_numbers(groups, len(statistics)))

    @staticmethod
    def group_numbers(groups: Sequence[str] | None, count: int) -> np.ndarray:
        """Numbers the groups of ``count`` examples in the order of their first, ``[count]``; see ``units``."""
        names = [name or row for row, name in enumerate(groups or [""] * count)]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        return np.asarray([numbers[name] for name in names], np.int64)

    def of(self, statistics: np.ndarray) -> float:
        """Computes the score of ``units``, ``[n, k]``."""
        if self.of_rows is not None:
            return float(self.of_rows(statistics))
        return float(self.aggregate(statistics.sum(axis=0), len(statistics)))


def mean_of(name: str, score: ExampleScore) -> Metric:
    """Makes a metric: the mean over examples of the maximum over references of ``score``.

    Args:
        name: the metric's name.
        score: (prediction, reference) → score from 0 to 1.
    """

    def statistics(predictions: Sequence[str], references: References) -> np.ndarray:
        best = [
            max(score(prediction, reference) for reference in accepted)
            for prediction, accepted in zip(predictions, references, strict=True)
        ]
        return np.asarray(best, np.float64)[:, None]

    return Metric(
        name,
        statistics,
        aggregate=lambda sums, count: sums[..., 0] / count,
        example_scores=lambda rows: rows[:, 0],
        is_mean=True,
    )
