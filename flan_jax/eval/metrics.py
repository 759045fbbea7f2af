"""Metrics by name: ``METRICS.get("rougeL")``.

A metric gives every example a row of sufficient statistics, and a score to any sum of rows. A
mean is the one-column case; corpus BLEU needs ten columns. So one bootstrap serves all of them:
it resamples rows. Scores run from 0 to 1, and people see them as per cent.
"""

import collections
import dataclasses
import functools
import re
import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flan_jax.tasks.catalog import Registry

References = Sequence[Sequence[str]]
ExampleScore = Callable[[str, str], float]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_BLEU_ORDER = 4


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: its name in ``METRICS``.
        statistics: (predictions, references of each) → float64 ``[n, k]``, one row an example.
        aggregate: (sums of rows ``[..., k]``, number of rows) → scores ``[...]`` from 0 to 1.
        example_scores: rows ``[n, k]`` → ``[n]``, the score of each example alone.
    """

    name: str
    statistics: Callable[[Sequence[str], References], np.ndarray]
    aggregate: Callable[[np.ndarray, int], np.ndarray]
    example_scores: Callable[[np.ndarray], np.ndarray]

    def __call__(self, predictions: Sequence[str], references: References) -> float:
        """The score of all predictions together."""
        return self.of(self.statistics(predictions, references))

    def of(self, statistics: np.ndarray) -> float:
        """The score of the examples whose rows these are, ``[n, k]``."""
        return float(self.aggregate(statistics.sum(axis=0), len(statistics)))


METRICS: Registry[Metric] = Registry("metric")


def mean_metric(name: str, score: ExampleScore) -> Metric:
    """Registers the mean over examples of the maximum over references of ``score``.

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

    return METRICS.add(
        name,
        Metric(
            name,
            statistics,
            aggregate=lambda sums, count: sums[..., 0] / count,
            example_scores=lambda rows: rows[:, 0],
        ),
    )


def normalize(text: str) -> str:
    """Lower case, ASCII punctuation removed, white space closed up; articles stay.

    This is how the Super-NaturalInstructions benchmark compares answers.

    >>> normalize(" The  answer: it's B. ")
    'the answer its b'
    """
    return " ".join(text.lower().translate(_PUNCTUATION).split())


def _accuracy(prediction: str, reference: str) -> float:
    return float(prediction == reference)


def _exact_match(prediction: str, reference: str) -> float:
    return float(normalize(prediction) == normalize(reference))


def _token_f1(prediction: str, reference: str) -> float:
    """SQuAD's F1 over bags of words, articles removed; two empty answers agree, as in SQuAD 2.0."""
    predicted, expected = (
        collections.Counter(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())
        for text in (prediction, reference)
    )
    if not predicted or not expected:
        return float(predicted == expected)
    shared = (predicted & expected).total()
    return 2 * shared / (predicted.total() + expected.total())


@functools.cache
def _rouge_scorer(kind: str) -> Any:
    # Imported on first use: it brings NLTK, which takes most of a second.
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer([kind], use_stemmer=True)


def _rouge(kind: str, prediction: str, reference: str) -> float:
    return float(_rouge_scorer(kind).score(target=reference, prediction=prediction)[kind].fmeasure)


@functools.cache
def _sentence_bleu() -> Any:
    from sacrebleu.metrics import BLEU

    # Counts do not depend on `effective_order`; setting it silences a remark on sentence scores.
    return BLEU(effective_order=True)


def _bleu_statistics(predictions: Sequence[str], references: References) -> np.ndarray:
    """``[n, 10]``: matching n-grams for n = 1 to 4, all n-grams, hypothesis and reference length."""
    rows = []
    for prediction, accepted in zip(predictions, references, strict=True):
        found = _sentence_bleu().sentence_score(prediction, list(accepted))
        rows.append([*found.counts, *found.totals, found.sys_len, found.ref_len])
    return np.asarray(rows, np.float64).reshape(-1, 2 * _BLEU_ORDER + 2)


def _bleu(sums: np.ndarray, count: int, *, effective_order: bool = False) -> np.ndarray:
    """BLEU (Papineni et al. 2002) of summed statistics, with sacrebleu's exponential smoothing.

    Args:
        sums: ``[..., 10]``, sums of ``_bleu_statistics`` rows.
        count: not used; BLEU is a ratio of sums.
        effective_order: leave out the orders that the hypothesis is too short for, as is right
            for one sentence; a corpus that short scores 0.
    """
    matches, totals = sums[..., :_BLEU_ORDER], sums[..., _BLEU_ORDER : 2 * _BLEU_ORDER]
    hypothesis, reference = sums[..., -2], sums[..., -1]
    possible = totals > 0
    # The k-th order without a match counts as 2^-k matches (NIST's smoothing).
    missed = possible & (matches == 0)
    smoothed = np.where(missed, 0.5 ** np.cumsum(missed, axis=-1), matches)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(possible, np.log(smoothed) - np.log(np.maximum(totals, 1)), 0.0 if effective_order else -np.inf)
        orders = possible.sum(axis=-1) if effective_order else _BLEU_ORDER
        precision = np.exp(logs.sum(axis=-1) / np.maximum(orders, 1))
        brevity = np.exp(np.minimum(0.0, 1 - reference / hypothesis))
    return np.where(matches.any(axis=-1), brevity * precision, 0.0)


mean_metric("accuracy", _accuracy)
mean_metric("exact_match", _exact_match)
mean_metric("token_f1", _token_f1)
mean_metric("rouge1", functools.partial(_rouge, "rouge1"))
mean_metric("rougeL", functools.partial(_rouge, "rougeL"))
METRICS.add(
    "bleu",
    Metric(
        "bleu",
        _bleu_statistics,
        _bleu,
        example_scores=lambda rows: _bleu(rows, 1, effective_order=True),
    ),
)
