import numpy as np
import pytest
import scipy.stats

from flan_jax.errors import UserError
from flan_jax.eval.statistics.paired import difference, paired_scores
from flan_jax.eval.statistics.power import (
    PairedDesign,
    examples_by_formula,
    examples_needed,
    mcnemar_power,
    power,
    smallest_difference,
)


def test_millers_worked_example():
    # arXiv:2411.00640, section 5: 3 points, omega² = 1/9, power 0.8, alpha 0.05: 969 questions.
    assert examples_by_formula(PairedDesign(variance=1 / 9), 0.03) == 969
    assert examples_needed(PairedDesign(variance=1 / 9), 0.03) == 969


def test_mcnemars_textbook_formula():
    # Connor 1987 by hand: (1.95996 sqrt(.15) + .84162 sqrt(.15 - .0004))² / .0004.
    assert examples_by_formula(PairedDesign(0.7, disagreement=0.15), 0.02) == 2941


@pytest.mark.parametrize(("n", "psi", "d"), [(60, 0.3, 0.15), (200, 0.2, 0.08), (25, 0.5, 0.3)])
def test_exact_power_is_what_our_own_test_finds(n, psi, d):
    rng, found, trials = np.random.default_rng(n), 0, 400
    for _ in range(trials):
        won, lost, _ = rng.multinomial(n, [(psi + d) / 2, (psi - d) / 2, 1 - psi])
        first = np.r_[np.zeros(won), np.ones(lost), np.ones(n - won - lost)]
        second = np.r_[np.ones(won), np.zeros(lost), np.ones(n - won - lost)]
        found += difference([paired_scores(first, second)], name="t").p <= 0.05
    expected = mcnemar_power(psi, d, n)
    assert found / trials == pytest.approx(expected, abs=3 * np.sqrt(expected * (1 - expected) / trials))


def test_without_a_difference_the_test_keeps_its_level():
    assert 0.02 < mcnemar_power(0.3, 0.0, 400) <= 0.05


def test_the_needed_number_is_the_smallest_that_is_enough():
    design = PairedDesign(0.7, disagreement=0.15)
    needed = examples_needed(design, 0.05)
    assert power(design, 0.05, needed) >= 0.8 > power(design, 0.05, needed - 1)
    assert examples_by_formula(design, 0.05) < needed < 1.15 * examples_by_formula(design, 0.05)
    assert smallest_difference(design, needed) == pytest.approx(0.05, abs=3e-4)
    assert examples_needed(design, 0.05, wanted=0.95) > 1.5 * needed
    assert examples_needed(design, 0.05, alpha=0.01) > 1.3 * needed


def test_a_correlation_is_a_disagreement():
    design = PairedDesign(0.6, correlation=0.5)
    psi = design.disagreement_at(0.1)
    rng = np.random.default_rng(0)
    both = 0.6 * 0.7 + 0.5 * np.sqrt(0.6 * 0.4 * 0.7 * 0.3)
    pairs = rng.choice(4, 400_000, p=[both, 0.6 - both, 0.7 - both, 1 - 1.3 + both])
    first, second = np.isin(pairs, (0, 1)), np.isin(pairs, (0, 2))
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(0.5, abs=0.01)
    assert np.mean(first != second) == pytest.approx(psi, abs=0.003)
    assert smallest_difference(design, examples_needed(design, 0.1)) == pytest.approx(0.1, abs=2e-3)


def test_graded_scores_need_what_simulation_needs():
    design, rng = PairedDesign(variance=0.04), np.random.default_rng(0)
    needed = examples_needed(design, 0.05)
    drawn = rng.normal(0.05, 0.2, (3000, needed))
    assert np.mean(scipy.stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.03)
    assert smallest_difference(design, needed) == pytest.approx(0.05, rel=0.01)
    assert power(design, 0.05, needed) == pytest.approx(0.8, abs=0.005)


def test_so_few_examples_that_nothing_shows():
    assert smallest_difference(PairedDesign(0.7, disagreement=0.03), 5) is None


@pytest.mark.parametrize(
    ("design", "difference", "message"),
    [
        (PairedDesign(0.7, disagreement=0.15), 0.2, "they disagree on 20.0% to 40.0%"),
        (PairedDesign(0.7, disagreement=0.8), 0.1, "cannot have a disagreement of 80.0%"),
        (PairedDesign(0.5, correlation=1.0), 0.1, "cannot have a correlation of 1"),
        (PairedDesign(0.95, disagreement=0.1), 0.1, "cannot rise by 10.0%"),
    ],
)
def test_models_that_cannot_be_are_refused(design, difference, message):
    with pytest.raises(UserError, match=message):
        examples_needed(design, difference)


def test_a_difference_too_small_for_any_collection_is_refused():
    with pytest.raises(UserError, match="more than 10,000,000"):
        examples_needed(PairedDesign(0.7, disagreement=0.2), 1e-5)
