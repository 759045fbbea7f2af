"""The number of examples that show a difference between two models, and the smallest difference that so many show.

Two models answer the same examples. Where answers are right or wrong, all that a test sees is the share of examples on
which the two disagree, psi, and the difference d: the second alone is right on (psi + d) / 2 of the examples and the first
alone on (psi - d) / 2. The test is the two-sided sign-flip test of ``flan_jax.eval.statistics.sign_flip``, which then is
McNemar's exact test, and its power is computed exactly. The usual formulas are beside it: Connor 1987 for McNemar's
test, and for graded scores that of Miller, "Adding Error Bars to Evals" (2024, arXiv:2411.00640).
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import scipy.optimize
import scipy.stats

from flan_jax.errors import UserError

MOST_EXAMPLES = 10_000_000
_TAIL = 1e-10
_STEPS = 200


@dataclasses.dataclass(frozen=True)
class PairedDesign:
    """The knowledge of two models before they are compared.

    Attributes:
        accuracy: of the first, from 0 to 1; ``None`` for graded scores.
        disagreement: share of examples that just one of the two has right; ``None`` where ``correlation`` is given.
        correlation: of being right, over examples; ``None`` where ``disagreement`` is given.
        variance: of the differences of graded scores; ``None`` where answers are right or wrong.
    """

    accuracy: float | None = None
    disagreement: float | None = None
    correlation: float | None = None
    variance: float | None = None

    def disagreement_at(self, difference: float) -> float:
        """Computes psi where the second is better by ``difference``.

        Raises:
            UserError: no two models have that accuracy, difference and disagreement or correlation.
        """
        assert self.accuracy is not None
        first, second = self.accuracy, self.accuracy + difference
        if not 0 <= second <= 1:
            raise UserError(
                f"An accuracy of {first:.1%} cannot rise by {difference:.1%}. Give a smaller difference, or another accuracy."
            )
        least, most = abs(difference), min(first + second, 2 - first - second)
        if self.disagreement is not None:
            psi, given = self.disagreement, f"a disagreement of {self.disagreement:.1%}"
        else:
            assert self.correlation is not None
            spread = math.sqrt(first * (1 - first) * second * (1 - second))
            variance = first * (1 - first) + second * (1 - second) - 2 * self.correlation * spread
            psi, given = variance + difference**2, f"a correlation of {self.correlation:g}"
        if not least - 1e-12 <= psi <= most + 1e-12:
            raise UserError(
                f"Two models with accuracies of {first:.1%} and {second:.1%} cannot have {given}: they disagree on "
                f"{least:.1%} to {most:.1%} of the examples."
            )
        return min(max(psi, least), most)


def power(design: PairedDesign, difference: float, examples: int, *, alpha: float = 0.05) -> float:
    """Computes the chance that a two-sided paired test finds a difference.

    Args:
        design: of the comparison.
        difference: second minus first, from 0 to 1.
        examples: how many both answer.
        alpha: level of the test.
    """
    if design.variance is not None:
        reached = difference / math.sqrt(design.variance / examples) if design.variance else math.inf
        limit = float(scipy.stats.norm.ppf(1 - alpha / 2))
        return float(scipy.stats.norm.sf(limit - reached) + scipy.stats.norm.cdf(-limit - reached))
    return mcnemar_power(design.disagreement_at(difference), difference, examples, alpha=alpha)


def mcnemar_power(disagreement: float, difference: float, examples: int, *, alpha: float = 0.05) -> float:
    """Computes the power of McNemar's exact test, exactly: over all numbers of disagreements and how they fall."""
    if disagreement == 0:
        return 0.0
    of_all = scipy.stats.binom(examples, disagreement)
    moved = np.arange(int(of_all.ppf(_TAIL)), int(of_all.ppf(1 - _TAIL)) + 1)
    # The largest number of wins that is still too few, of each number of disagreements.
    least = scipy.stats.binom.ppf(alpha / 2, moved, 0.5)
    least = np.where(scipy.stats.binom.cdf(least, moved, 0.5) > alpha / 2, least - 1, least)
    won = (disagreement + difference) / (2 * disagreement)
    found = scipy.stats.binom.cdf(least, moved, won) + scipy.stats.binom.sf(moved - least - 1, moved, won)
    return float(np.sum(of_all.pmf(moved) * np.where(moved > 0, found, 0.0)))


def examples_by_formula(design: PairedDesign, difference: float, *, wanted: float = 0.8, alpha: float = 0.05) -> int:
    """Computes the number of examples by the usual normal approximation: Connor's, or Miller's for graded scores."""
    limit, reach = scipy.stats.norm.ppf([1 - alpha / 2, wanted])
    if design.variance is not None:
        found = (limit + reach) ** 2 * design.variance / difference**2
    else:
        psi = design.disagreement_at(difference)
        found = (limit * math.sqrt(psi) + reach * math.sqrt(max(0.0, psi - difference**2))) ** 2 / difference**2
    # A product that should be whole may lie a rounding above.
    return max(1, math.ceil(float(found) - 1e-9))


def examples_needed(design: PairedDesign, difference: float, *, wanted: float = 0.8, alpha: float = 0.05) -> int:
    """Finds the smallest number of examples with which the test finds a difference with probability ``wanted``.

    Raises:
        UserError: more than ``MOST_EXAMPLES``, or accuracies that do not go together.
    """
    high = examples_by_formula(design, difference, wanted=wanted, alpha=alpha)
    if design.variance is not None:
        return high
    while high <= MOST_EXAMPLES and power(design, difference, high, alpha=alpha) < wanted:
        high = high + max(1, high // 10)
    if high > MOST_EXAMPLES:
        raise UserError(
            f"A difference of {100 * difference:g} points needs more than {MOST_EXAMPLES:,} examples. Give a larger --difference."
        )
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(design, difference, middle, alpha=alpha) >= wanted else (middle, high)
    return high


def smallest_difference(
    design: PairedDesign, examples: int, *, wanted: float = 0.8, alpha: float = 0.05
) -> float | None:
    """Finds the smallest difference that so many examples show with probability ``wanted``; ``None`` where none is."""
    if design.variance is not None:
        limit, reach = scipy.stats.norm.ppf([1 - alpha / 2, wanted])
        return float((limit + reach) * math.sqrt(design.variance / examples))

    def missing(difference: float) -> float:
        return power(design, difference, examples, alpha=alpha) - wanted

    most = _largest(design)
    if most is None or missing(most) < 0:
        return None
    return float(scipy.optimize.brentq(missing, 1e-9, most, xtol=1e-7))


def _largest(design: PairedDesign) -> float | None:
    """The largest difference that the accuracy and the disagreement or correlation allow; ``None`` where none is."""
    assert design.accuracy is not None

    def allowed(difference: float) -> bool:
        try:
            design.disagreement_at(difference)
        except UserError:
            return False
        return True

    return _last(allowed, 1 - design.accuracy)


def _last(allowed: Callable[[float], bool], most: float) -> float | None:
    """The largest allowed number up to ``most`` by bisection, where smaller ones are allowed; ``None`` where none is."""
    if not allowed(1e-9):
        return None
    # With a correlation, larger differences may be allowed again beyond a gap, so the way up is looked at.
    steps = np.linspace(1e-9, most, _STEPS)
    refused = next((place for place, step in enumerate(steps) if not allowed(float(step))), None)
    if refused is None:
        return most
    low, high = float(steps[refused - 1]), float(steps[refused])
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if allowed(middle) else (low, middle)
    return low
