"""The distribution of a task's score over its templates, estimated from a part of all pairs of example and template.

The estimator of PromptEval (Polo et al. 2024, arXiv:2405.17202): a Rasch model fills in the cells that were not measured,
and a template's score is the mean over measured and predicted cells. What the paper computes from the best fit alone is
averaged here over draws from the model's posterior, because quantiles of shrunken estimates lie too close together, and
those of raw means too far apart.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from flan_jax.eval.statistics.bootstrap import generator
from flan_jax.eval.statistics.rasch import RaschFit, fit_rasch, sigmoid
from flan_jax.eval.statistics.sample import TaskSample
from flan_jax.tasks.repeats import templates_in_turn

QUANTILES = (5, 50, 95)
_DRAWS = 500


@dataclasses.dataclass(frozen=True)
class TemplateDistribution:
    """The distribution of a task's score over its templates, from 0 to 1.

    Attributes:
        quantiles: ``5``, ``50`` and ``95`` → score. Between templates they are interpolated.
        intervals: of each of the quantiles, a 95% credible interval.
        mean, deviation: over templates; the deviation is that of templates, without the noise of their examples.
        worst, best: the least and the largest score of a template.
        best_by_validation: the score, on one half of the examples, of the template that is best on the other half,
            and the same the other way round, averaged; ``None`` where a half has no example of some template. It is
            what choosing a template brings; ``best`` is what nobody could have chosen.
        scores: template → its estimated score.
        cost: cells measured for each example: 1 where each was asked under one template.
    """

    quantiles: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    mean: float
    deviation: float
    worst: float
    best: float
    best_by_validation: float | None
    scores: Mapping[int, float]
    cost: float

    @property
    def summary(self) -> dict[str, float]:
        """Everything but the quantiles and single templates, by name."""
        found = {"mean": self.mean, "deviation": self.deviation, "worst": self.worst, "best": self.best}
        if self.best_by_validation is not None:
            found["best_by_validation"] = self.best_by_validation
        for quantile, (low, high) in self.intervals.items():
            found |= {f"{quantile}_low": low, f"{quantile}_high": high}
        return found | {"cost": self.cost}


def sample_templates(sample: TaskSample, *, seed: int = 0) -> TemplateDistribution | None:
    """Estimates the distribution of a task's score over its templates from what was measured of it.

    Returns:
        The distribution, or ``None`` where there is one template, or the score is no mean over examples from 0 to 1.
    """
    if not sample.has_templates or not sample.metric.is_mean or sample.metric.lowest < 0:
        return None
    return template_distribution(*sample.cells(), name=sample.name, seed=seed)


def template_distribution(
    scores: Sequence[float] | np.ndarray,
    templates: Sequence[int] | np.ndarray,
    examples: Sequence[int] | np.ndarray,
    *,
    template_features: np.ndarray | None = None,
    example_features: np.ndarray | None = None,
    name: str = "",
    seed: int = 0,
) -> TemplateDistribution | None:
    """Estimates the distribution of the mean score over templates.

    Args:
        scores: of measured cells, from 0 to 1.
        templates: the template of each.
        examples: the record of each.
        template_features: ``[templates, p]`` covariates, templates in ascending order of their ids.
        example_features: ``[examples, q]`` covariates, likewise.
        name: what tells these draws from others.
        seed: another seed, other draws.

    Returns:
        The distribution, or ``None`` where there is but one template.
    """
    values = np.asarray(scores, np.float64)
    ids, numbers = np.unique(np.asarray(templates), return_inverse=True)
    records, rows = np.unique(np.asarray(examples), return_inverse=True)
    if len(ids) < 2:
        return None
    fit = fit_rasch(
        values, numbers, rows, template_count=len(ids), example_count=len(records),
        template_features=template_features, example_features=example_features,
    )  # fmt: skip
    drawn = _drawn_scores(fit, values, numbers, rows, generator("templates", seed, name))
    quantiles = np.quantile(drawn, np.asarray(QUANTILES) / 100, axis=1)
    bounds = np.quantile(quantiles, [0.025, 0.975], axis=1)
    return TemplateDistribution(
        quantiles={str(q): float(own.mean()) for q, own in zip(QUANTILES, quantiles, strict=True)},
        intervals={str(q): (float(low), float(high)) for q, (low, high) in zip(QUANTILES, bounds.T, strict=True)},
        mean=float(drawn.mean()),
        deviation=float(drawn.std(axis=1, ddof=1).mean()),
        worst=float(drawn.min(axis=1).mean()),
        best=float(drawn.max(axis=1).mean()),
        best_by_validation=_best_by_validation(values, numbers, rows, len(ids)),
        scores=dict(zip(ids.tolist(), drawn.mean(axis=0).tolist(), strict=True)),
        cost=len(values) / len(records),
    )


def balanced_cells(examples: int, templates: int, *, each: int = 2, seed: int = 0) -> np.ndarray:
    """Chooses under which templates to ask each example, as ``templates_in_turn`` does: ``[examples, each]``.

    Raises:
        ValueError: more templates for an example than there are.
    """
    if not 1 <= each <= templates:
        raise ValueError(f"each={each} must lie between 1 and the number of templates, {templates}.")
    ids = tuple(range(templates))
    return np.array([templates_in_turn(ids, index=row, seed=seed, task="")[:each] for row in range(examples)])


def _drawn_scores(
    fit: RaschFit, values: np.ndarray, templates: np.ndarray, examples: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Scores of all templates over all examples, ``[draws, I]``: measured cells as they are, others as the model has them."""
    count, size = len(fit.example_logits), len(fit.template_logits)
    root = np.linalg.cholesky(fit.template_covariance + 1e-12 * np.eye(size))
    logits = fit.template_logits + rng.standard_normal((_DRAWS, size)) @ root.T
    cells, seen = np.zeros((size, count)), np.zeros((size, count))
    np.add.at(cells, (templates, examples), values)
    np.add.at(seen, (templates, examples), 1)
    known, measured = seen > 0, np.divide(cells, np.maximum(seen, 1)).sum(axis=1)
    found = np.empty((_DRAWS, size))
    for template in range(size):
        unknown = ~known[template]
        # Examples of which the same is known, as all are that were asked once, count as one with a weight.
        kinds, times = np.unique(
            np.stack([fit.example_logits[unknown], fit.example_variance[unknown]]), axis=1, return_counts=True
        )
        chance = sigmoid((logits[:, template, None] + kinds[0]) / np.sqrt(1 + np.pi / 8 * kinds[1]))
        # What answers would come of these chances: the score is of these examples, not of their chances.
        noise = np.sqrt((chance * (1 - chance)) @ times) * rng.standard_normal(_DRAWS)
        found[:, template] = (measured[template] + chance @ times + noise) / count
    return np.clip(found, 0, 1)


def _best_by_validation(values: np.ndarray, templates: np.ndarray, examples: np.ndarray, count: int) -> float | None:
    """Chooses on every second record and scores on the others, both ways."""
    means = []
    for half in (0, 1):
        own = examples % 2 == half
        sizes = np.bincount(templates[own], minlength=count)
        if (sizes == 0).any():
            return None
        means.append(np.bincount(templates[own], values[own], count) / sizes)
    return float((means[1][np.argmax(means[0])] + means[0][np.argmax(means[1])]) / 2)
