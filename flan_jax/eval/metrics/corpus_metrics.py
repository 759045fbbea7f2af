"""Corpus metrics, which are no means over examples: BLEU, correlation, F1 and Matthews coefficient of classes.

Each is a formula over sums, so that it can be resampled.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flan_jax.errors import UserError
from flan_jax.eval.metrics.metric import Metric, References
from flan_jax.eval.metrics.string_metrics import normalize

_BLEU_ORDER = 4
# Below this share of the mean square, what is left of a variance is rounding.
_NO_VARIANCE = 1e-12
_LARGEST = 1e100  # its square is a number yet


@functools.cache
def _sentence_bleu(tokenize: str) -> Any:
    from sacrebleu.metrics import BLEU

    # Counts do not depend on `effective_order`; setting it silences a remark on sentence scores.
    return BLEU(tokenize=tokenize, effective_order=True)


def _bleu_statistics(predictions: Sequence[str], references: References, *, tokenize: str) -> np.ndarray:
    """``[n, 10]``: matching n-grams for n = 1 to 4, all n-grams, hypothesis and reference length."""
    rows = []
    for prediction, accepted in zip(predictions, references, strict=True):
        found = _sentence_bleu(tokenize).sentence_score(prediction, list(accepted))
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


def _bleu_signature(references: References, *, tokenize: str) -> str:
    from sacrebleu.metrics import BLEU

    return sacrebleu_signature(BLEU(tokenize=tokenize), references)


def sacrebleu_signature(metric: Any, references: References) -> str:
    """Returns the signature (Post 2018) that sacrebleu gives a corpus with as many references as these examples have."""
    counts = sorted({len(accepted) for accepted in references})
    # sacrebleu notes the number of references as it scores: a word for each number of them is enough.
    streams = [["a" if place < count else None for count in counts] for place in range(counts[-1])]
    metric.corpus_score(["a"] * len(counts), streams)
    return str(metric.get_signature())


def bleu(name: str, tokenize: str) -> Metric:
    """BLEU of sacrebleu over one of its ways to tokenize: ``13a``, its own, or ``intl``, that of T5 and FLAN."""
    return Metric(
        name,
        functools.partial(_bleu_statistics, tokenize=tokenize),
        _bleu,
        example_scores=lambda rows: _bleu(rows, 1, effective_order=True),
        signature=functools.partial(_bleu_signature, tokenize=tokenize),
    )


def pearson(name: str, unparsable: str = "-1") -> Metric:
    """Pearson's correlation of the numbers predicted with the numbers expected, from -1 to 1.

    Args:
        name: the metric's name.
        unparsable: the number that a prediction counts as that is none; -1 is that of T5's
            evaluation of STS-B.

    Returns:
        A metric that is 0 where either side does not vary, and reads the first reference. One
        example alone scores 1 for the very number and else 0.
    """
    instead = _number(unparsable)
    if instead is None:
        raise UserError(f"Metric {name!r}: {unparsable!r} is no number. Write pearson:NUMBER, as in pearson:-1.")

    def statistics(predictions: Sequence[str], references: References) -> np.ndarray:
        given = [_number(prediction) for prediction in predictions]
        xs = np.asarray([instead if number is None else number for number in given], np.float64)
        ys = np.asarray([_expected(accepted[0]) for accepted in references], np.float64)
        # No shift changes a correlation; this one keeps the squares of large numbers apart.
        shift = ys.mean() if len(ys) else 0.0
        x, y = xs - shift, ys - shift
        return np.stack([x, y, x * y, x * x, y * y], axis=-1)

    def _expected(text: str) -> float:
        number = _number(text)
        if number is None:
            raise UserError(f"Metric {name!r} compares numbers, but the reference {text!r} is none.")
        return number

    def aggregate(sums: np.ndarray, count: int) -> np.ndarray:
        x, y, xy, xx, yy = np.moveaxis(sums / count, -1, 0)
        with np.errstate(all="ignore"):
            of_x, of_y = xx - x * x, yy - y * y
            varies = (of_x > _NO_VARIANCE * xx) & (of_y > _NO_VARIANCE * yy)
            found = (xy - x * y) / np.sqrt(of_x * of_y)
        return np.clip(np.where(varies & np.isfinite(found), found, 0.0), -1, 1)

    return Metric(
        name,
        statistics,
        aggregate,
        example_scores=lambda rows: (rows[:, 0] == rows[:, 1]).astype(float),
        lowest=-1.0,
    )


def spearman(name: str, unparsable: str = "-1") -> Metric:
    """Spearman's rank correlation, from -1 to 1: Pearson's of the ranks, equal numbers sharing their mean rank.

    Args:
        name: the metric's name.
        unparsable: as for ``pearson``, whose conventions hold otherwise.
    """
    numbers = pearson(name, unparsable)

    def of_rows(rows: np.ndarray) -> np.ndarray:
        from scipy.stats import rankdata

        x, y = (rankdata(rows[..., side], axis=-1) for side in (0, 1))
        x, y = x - x.mean(axis=-1, keepdims=True), y - y.mean(axis=-1, keepdims=True)
        spread = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
        return np.where(spread > 0, (x * y).sum(axis=-1) / np.where(spread > 0, spread, 1), 0.0)

    return Metric(
        name,
        numbers.statistics,
        aggregate=lambda sums, count: np.zeros(sums.shape[:-1]),
        example_scores=numbers.example_scores,
        of_rows=of_rows,
        lowest=-1.0,
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < _LARGEST else None  # nor infinities, nor NaN


def _class(text: str) -> str:
    """Normalizes the name of a class; "+" and "-" stay different."""
    return normalize(text) or text.strip()


def _counts(classes: Sequence[str]) -> Callable[[Sequence[str], References], np.ndarray]:
    """Statistics ``[n, 3 k]``: for each class, whether it was rightly predicted, predicted, expected."""
    wanted = np.asarray([_class(text) for text in classes])

    def statistics(predictions: Sequence[str], references: References) -> np.ndarray:
        predicted = np.asarray([_class(text) for text in predictions], dtype=object)[:, None] == wanted
        expected = np.asarray([_class(accepted[0]) for accepted in references], dtype=object)[:, None] == wanted
        return np.concatenate([predicted & expected, predicted, expected], axis=-1).astype(np.float64)

    return statistics


def _f1(right: np.ndarray, predicted: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return 2 * right / np.maximum(predicted + expected, 1)


def f1_of(name: str, text: str) -> Metric:
    """The F1 of the class whose answer is ``text``; 0 where it is neither predicted nor expected.

    Answers are compared as ``exact_match`` compares them, with the first reference. One example
    alone scores 1 where prediction and reference agree on whether it belongs to the class.
    """
    _check_classes(name, [text])
    return Metric(
        name,
        _counts([text]),
        aggregate=lambda sums, count: _f1(sums[..., 0], sums[..., 1], sums[..., 2]),
        example_scores=_agreement,
    )


def macro_f1(name: str, text: str) -> Metric:
    """The unweighted mean of the F1 of classes, ``CLASS|CLASS|…``: the official one of CommitmentBank.

    A class that is neither predicted nor expected has 0. One example alone scores 1 where the
    reference's class is predicted.
    """
    classes = [part.strip() for part in text.split("|")]
    _check_classes(name, classes)
    count = len(classes)

    def aggregate(sums: np.ndarray, _: int) -> np.ndarray:
        return _f1(sums[..., :count], sums[..., count : 2 * count], sums[..., 2 * count :]).mean(axis=-1)

    return Metric(
        name, _counts(classes), aggregate, example_scores=lambda rows: rows[:, :count].any(axis=-1).astype(float)
    )


def mcc(name: str, text: str) -> Metric:
    """Matthews' coefficient, from -1 to 1, of predicting the class whose answer is ``text``; CoLA's official one.

    It is 0 where either side does not vary. One example alone scores as with ``f1_of``.
    """
    _check_classes(name, [text])

    def aggregate(sums: np.ndarray, count: int) -> np.ndarray:
        right, predicted, expected = sums[..., 0], sums[..., 1], sums[..., 2]
        spread = predicted * (count - predicted) * expected * (count - expected)
        return np.where(spread > 0, (count * right - predicted * expected) / np.sqrt(np.maximum(spread, 1)), 0.0)

    return Metric(name, _counts([text]), aggregate, example_scores=_agreement, lowest=-1.0)


def _expected_classes(predictions: Sequence[str], references: References) -> np.ndarray:
    """``[n, 2]``: the number of the class that is expected, in the order of first appearance, and 1 where it is predicted."""
    expected = [_class(accepted[0]) for accepted in references]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(expected))}
    right = [_class(prediction) == name for prediction, name in zip(predictions, expected, strict=True)]
    return np.asarray([[numbers[name], hit] for name, hit in zip(expected, right, strict=True)], np.float64).reshape(
        -1, 2
    )


def _mean_recall(rows: np.ndarray) -> np.ndarray:
    """Mean over the classes that occur in ``[..., n, 2]`` of the share of their rows that are right, ``[...]``."""
    recalls, classes = np.zeros(rows.shape[:-2]), np.zeros(rows.shape[:-2])
    # Class by class: resamples of many examples are large, and a table of all classes would be as often larger.
    for number in np.unique(rows[..., 0]):
        member = rows[..., 0] == number
        count = member.sum(axis=-1)
        recalls += (member * rows[..., 1]).sum(axis=-1) / np.maximum(count, 1)
        classes += count > 0
    return recalls / np.maximum(classes, 1)


BALANCED_ACCURACY = Metric(
    "balanced_accuracy",
    _expected_classes,
    aggregate=lambda sums, count: sums[..., 1] / count,
    example_scores=lambda rows: rows[:, 1],
    of_rows=_mean_recall,
)
"""The mean recall of the classes that the first references name (Brodersen et al. 2010), answers compared as ``f1_of`` does."""


def _agreement(rows: np.ndarray) -> np.ndarray:
    return (rows[:, 1] == rows[:, 2]).astype(float)


def _check_classes(name: str, classes: Sequence[str]) -> None:
    if not all(text.strip() for text in classes) or len({_class(text) for text in classes}) < len(classes):
        raise UserError(f"Metric {name!r} must name different answers that are not empty, as in f1_of:yes.")
