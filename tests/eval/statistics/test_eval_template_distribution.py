import numpy as np
import pytest

from flan_jax.eval.statistics.rasch import fit_rasch, sigmoid
from flan_jax.eval.statistics.template_distribution import balanced_cells, template_distribution


def world(seed, *, templates=10, examples=200, spread=0.6, difficulty=1.5):
    """Right or wrong in every cell, ``[templates, examples]``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.5, spread, (templates, 1)) + rng.normal(0, difficulty, examples)
    return (rng.random((templates, examples)) < sigmoid(logits)).astype(float)


def measured(cells, each, seed=0):
    chosen = balanced_cells(cells.shape[1], cells.shape[0], each=each, seed=seed)
    examples = np.repeat(np.arange(cells.shape[1]), each)
    templates = chosen.reshape(-1)
    return cells[templates, examples], templates, examples


def estimate(cells, each, seed=0):
    return template_distribution(*measured(cells, each, seed), name=str(seed))


def truth(cells):
    return dict(zip(("5", "50", "95"), np.quantile(cells.mean(axis=1), [0.05, 0.5, 0.95]), strict=True))


def errors(each, seeds, estimator):
    found = []
    for seed in seeds:
        cells = world(seed)
        found.append([estimator(cells, each, seed)[q] - true for q, true in truth(cells).items()])
    return np.asarray(found)


def raw(cells, each, seed):
    scores, templates, _ = measured(cells, each, seed)
    means = np.bincount(templates, scores) / np.bincount(templates)
    return dict(zip(("5", "50", "95"), np.quantile(means, [0.05, 0.5, 0.95]), strict=True))


def test_the_full_cross_is_told_as_it_is():
    cells = world(0)
    found = estimate(cells, 10)
    scores = cells.mean(axis=1)
    assert found.quantiles == pytest.approx(truth(cells))
    assert found.scores == pytest.approx(dict(enumerate(scores)))
    assert (found.worst, found.best) == pytest.approx((scores.min(), scores.max()))
    assert found.deviation == pytest.approx(scores.std(ddof=1))
    assert found.cost == 10


def test_a_fifth_of_the_cells_gives_the_quantiles_closer_than_raw_means_do():
    ours = errors(2, range(12), lambda *args: estimate(*args).quantiles)
    naive = errors(2, range(12), raw)
    assert np.abs(ours).mean() < 0.035
    assert np.abs(ours[:, [0, 2]]).mean() < 0.75 * np.abs(naive[:, [0, 2]]).mean()
    assert abs(ours[:, 0].mean()) < 0.025
    assert abs(ours[:, 2].mean()) < 0.025


def test_credible_intervals_hold_the_quantiles_about_as_often_as_they_say():
    held = []
    for seed in range(20):
        cells = world(seed)
        found = estimate(cells, 2, seed)
        held += [low <= truth(cells)[q] <= high for q, (low, high) in found.intervals.items()]
    assert np.mean(held) > 0.85


def test_templates_that_do_not_differ_are_not_spread_by_noise():
    cells = world(3, spread=0.0)
    scores, templates, _ = measured(cells, 1)
    noisy = (np.bincount(templates, scores) / np.bincount(templates)).std(ddof=1)
    assert estimate(cells, 1).deviation < 0.75 * noisy


def test_asked_once_each_or_of_one_template():
    cells = world(4)
    once = estimate(cells, 1)
    assert once.cost == 1
    assert once.quantiles["5"] <= once.quantiles["50"] <= once.quantiles["95"]
    assert template_distribution([1, 0, 1], [3, 3, 3], [0, 1, 2]) is None


def test_the_best_template_by_validation_is_no_better_than_the_best():
    chosen, best = [], []
    for seed in range(10):
        found = estimate(world(seed), 2, seed)
        chosen.append(found.best_by_validation)
        best.append(found.best)
    assert 0.5 < np.mean(chosen) < np.mean(best)


def test_effects_are_found_and_covariates_help():
    rng = np.random.default_rng(5)
    features = rng.standard_normal((20, 1))
    logits = (0.8 * features[:, 0])[:, None] + rng.normal(0, 1.0, 200)
    cells = (rng.random(logits.shape) < sigmoid(logits)).astype(float)
    scores, templates, examples = measured(cells, 2)
    sizes = {"template_count": 20, "example_count": 200}
    plain = fit_rasch(scores, templates, examples, **sizes)
    helped = fit_rasch(scores, templates, examples, **sizes, template_features=features)
    gone = [np.abs(fit.predicted().mean(axis=1) - cells.mean(axis=1)).mean() for fit in (plain, helped)]
    assert gone[1] < 0.8 * gone[0]
    assert np.corrcoef(plain.template_logits, features[:, 0])[0, 1] > 0.4


def test_scores_that_are_all_the_same_have_a_distribution():
    found = template_distribution(np.ones(60), np.arange(60) % 6, np.arange(60))
    assert found.quantiles["50"] > 0.95
    assert found.best <= 1


def test_cells_are_spread_evenly():
    chosen = balanced_cells(103, 7, each=3, seed=1)
    assert chosen.shape == (103, 3)
    assert all(len(set(row)) == 3 for row in chosen.tolist())
    counts = np.bincount(chosen.reshape(-1))
    assert np.ptp(np.bincount(chosen[:, 0])) <= 1
    assert np.ptp(counts) < 20
    assert not np.array_equal(chosen, balanced_cells(103, 7, each=3, seed=2))
    with pytest.raises(ValueError, match="between 1 and the number of templates, 2"):
        balanced_cells(5, 2, each=3)
