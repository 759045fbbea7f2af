"""Ways to choose among scored options, and what the probabilities that follow from them are worth.

Shapes: O options of an example, n examples.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from flan_jax.eval.examples import EvalExample
from flan_jax.eval.metrics.metric import Metric
from flan_jax.eval.metrics.string_metrics import normalize_squad

OptionScore = Literal["sum", "per_token", "per_character", "unconditional"]
"""What of an option's log-likelihood decides; see ``option_values``."""
OPTION_SCORES: tuple[OptionScore, ...] = get_args(OptionScore)
PROBABILITY_METRICS = ("choice_probability", "brier", "calibration_error")
RANK_METRICS = (*(f"accuracy_{way}" for way in OPTION_SCORES), *PROBABILITY_METRICS)
"""What is reported of every ranked task beside its own metrics."""
BINS = 15
"""Of the calibration error, as in Guo et al. 2017."""
_CHEAP_PRIORS = 32
_CHEAP_SHARE = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredOptions:
    """The options of one example, scored.

    Attributes:
        options: their texts.
        sums: log-likelihoods (nats) of each option's tokens behind the prompt, float64 ``[O]``.
        tokens: tokens of each, as many as were scored, ``[O]``; ``None`` where the model does not tell.
        priors: log-likelihoods (nats) of the same tokens behind no prompt, ``[O]``; ``None`` where not computed.
    """

    options: tuple[str, ...]
    sums: np.ndarray
    tokens: np.ndarray | None = None
    priors: np.ndarray | None = None

    def ways(self) -> list[OptionScore]:
        """Returns the ways of scoring that are known of these options."""
        known = {"per_token": self.tokens is not None, "unconditional": self.priors is not None}
        return [way for way in OPTION_SCORES if known.get(way, True)]

    def values(self, way: OptionScore) -> np.ndarray:
        """Computes what is compared, float64 ``[O]``, the higher the better.

        ``sum`` is the log-likelihood of the option. ``per_token`` divides it by the tokens that were scored, the one
        that ends the option counted. ``per_character`` divides it by the characters of the text (lm-evaluation-harness's
        ``acc_norm``); an empty option counts as one character. ``unconditional`` subtracts the log-likelihood of the same
        option without the prompt, which leaves the pointwise mutual information of prompt and option (Holtzman et al.
        2021, arXiv:2104.08315; lm-evaluation-harness's ``acc_mutual_info``).
        """
        if way == "per_token":
            assert self.tokens is not None
            return self.sums / self.tokens
        if way == "per_character":
            return self.sums / np.maximum([len(option) for option in self.options], 1)
        if way == "unconditional":
            assert self.priors is not None
            return self.sums - self.priors
        return self.sums


def best_option(values: np.ndarray) -> int | None:
    """Returns the place of the highest value (the first of equals); ``None`` where one is not a finite number."""
    return int(np.argmax(values)) if np.isfinite(values).all() else None


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """A metric's verdict on the options of an example: which it accepts, and which it cannot tell apart.

    Attributes:
        accepted: bool ``[O]``.
        same_as: the place of the first option that is equal for the metric, ``[O]``.
    """

    accepted: np.ndarray
    same_as: np.ndarray


def judge_options(examples: Sequence[EvalExample], metric: Metric) -> list[Judged]:
    """Finds the accepted options of each example, and those that are equal for the metric.

    An option is accepted where it is a reference, or where the metric's score of the one against the other is 1.

    Args:
        examples: with options and references.
        metric: of their task.
    """
    options = [[example.strip_ending(option) for option in example.options] for example in examples]
    references = [[example.strip_ending(reference) for reference in example.references] for example in examples]
    flat = [(option, accepted) for own, accepted in zip(options, references, strict=True) for option in own]
    equal = _equal(metric, [option for option, _ in flat], [accepted for _, accepted in flat])
    accepted = np.split(equal, np.cumsum([len(own) for own in options])[:-1])
    return [Judged(right, _same_as(own, metric)) for right, own in zip(accepted, options, strict=True)]


def _equal(metric: Metric, texts: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    scores = metric.example_scores(metric.statistics(texts, references))
    exact = np.array([text in accepted for text, accepted in zip(texts, references, strict=True)], bool)
    return exact | (np.asarray(scores) >= 1)


def _same_as(options: Sequence[str], metric: Metric) -> np.ndarray:
    same_as = np.arange(len(options))
    alike: dict[str, list[int]] = {}
    for place, option in enumerate(options):
        # Whatever a metric drops from a text, this drops too: only what is left alike is worth the metric's look.
        firsts = alike.setdefault(normalize_squad(option).replace(" ", ""), [])
        found = next((first for first in firsts if _equal(metric, [option], [[options[first]]])[0]), None)
        if found is None:
            firsts.append(place)
        else:
            same_as[place] = found
    return same_as


def choice_probabilities(values: np.ndarray, options: Sequence[str]) -> np.ndarray:
    """Computes the softmax of the options' values over their distinct texts, float64 ``[O]``.

    A text that is listed twice has its probability once, at its first place.
    """
    first = np.array([options.index(option) == place for place, option in enumerate(options)])
    weights = np.where(first, np.exp(values - values.max()), 0.0)
    return weights / weights.sum()


def probability_metrics(
    scored: Sequence[ScoredOptions], judged: Sequence[Judged], way: OptionScore
) -> dict[str, float]:
    """Computes the normalized choice probability, the Brier score and the calibration error.

    The probabilities of an example are ``choice_probabilities`` of the chosen way of scoring; those of options that the
    metric cannot tell apart are added up, and accepted options are one outcome. ``choice_probability`` is the mean
    probability of that outcome; an example whose scores are not numbers counts 0. The Brier score is the mean of
    ``sum over outcomes (probability - truth) ** 2`` (Brier 1950), from 0 to 2. The calibration error is
    ``sum over bins share * |accuracy - confidence|`` with the probability of the chosen outcome as confidence, in 15 bins
    of equal width (Guo et al. 2017, arXiv:1706.04599, equation 3). Both leave out examples whose scores are not numbers,
    and are not there where no example is left.
    """
    right, brier, confidence, hits = [], [], [], []
    for own, judgement in zip(scored, judged, strict=True):
        values = own.values(way)
        best = best_option(values)
        if best is None:
            right.append(0.0)
            continue
        outcome = np.where(judgement.accepted, -1, judgement.same_as)
        names, place = np.unique(outcome, return_inverse=True)
        mass = np.bincount(place, weights=choice_probabilities(values, own.options))
        truth = names == -1
        right.append(float(mass[truth].sum()))
        # Where no option is accepted, the truth is an outcome that has no probability.
        brier.append(float(((mass - truth) ** 2).sum()) + float(not truth.any()))
        confidence.append(float(mass[place[best]]))
        hits.append(bool(judgement.accepted[best]))
    found = {"choice_probability": float(np.mean(right))}
    if brier:
        found["brier"] = float(np.mean(brier))
        found["calibration_error"] = calibration_error(np.array(confidence), np.array(hits))
    return found


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> float:
    """Computes the expected calibration error; bin m of M holds confidences in ((m - 1) / M, m / M].

    >>> round(calibration_error(np.array([0.95, 0.95, 0.6, 0.6]), np.array([True, False, True, True])), 6)
    0.425

    Args:
        confidence: ``[n]``, from 0 to 1.
        correct: bool ``[n]``.
        bins: M, of equal width.
    """
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=correct.astype(float) - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def rank_metrics(scored: Sequence[ScoredOptions], judged: Sequence[Judged], way: OptionScore) -> dict[str, float]:
    """Computes what is reported of a ranked task: its accuracy by every other way of scoring, and ``probability_metrics``.

    Args:
        scored: the options of each example.
        judged: what the metric says of them.
        way: the one that decides.
    """
    found = {}
    for other in scored[0].ways():
        # The accuracy of the way that decides is beside the others only where it is not what everybody expects.
        if other == "sum" and way == "sum":
            continue
        chosen = [best_option(own.values(other)) for own in scored]
        right = [best is not None and bool(own.accepted[best]) for best, own in zip(chosen, judged, strict=True)]
        found[f"accuracy_{other}"] = float(np.mean(right))
    return {**found, **probability_metrics(scored, judged, way)}


def option_notes(scored: Sequence[ScoredOptions], judged: Sequence[Judged], way: OptionScore) -> list[str]:
    """Says how many examples have scores or options that a reader must know of, a sentence each."""
    values = [own.values(way) for own in scored]
    broken = sum(best_option(row) is None for row in values)
    tied = sum(best_option(row) is not None and int((row == row.max()).sum()) > 1 for row in values)
    repeated = sum(len(np.unique(own.same_as)) < len(own.same_as) for own in judged)
    without = sum(not own.accepted.any() for own in judged)
    sentences = (
        (broken, "have option scores that are not numbers; they count as wrong."),
        (
            tied,
            "have equal best scores, and the first such option was taken: the vocabulary may be unable to tell the "
            "options apart.",
        ),
        (repeated, "have options that the metric cannot tell apart; their probabilities are added up."),
        (without, "have no accepted answer among their options, so they cannot be answered rightly."),
    )
    return [f"{count} examples {what}" for count, what in sentences if count]


def priors_wanted(examples: Sequence[EvalExample], way: OptionScore) -> bool:
    """Tells whether the options' log-likelihoods without a prompt are worth computing: asked for, or few.

    Few are at most 32 distinct options, or a tenth of all that are scored.
    """
    distinct = len({option for example in examples for option in example.options})
    scored = sum(len(example.options) for example in examples)
    return way == "unconditional" or distinct <= max(_CHEAP_PRIORS, math.floor(_CHEAP_SHARE * scored))
