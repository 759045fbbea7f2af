import numpy as np
import pytest
import scipy.stats

from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.statistics import bootstrap

ACCURACY, BLEU = METRICS.get("accuracy"), METRICS.get("bleu")
SENTENCES = ["the cat sat on the mat today", "a dog ran over the hill at night", "we all like to read good books"]


def column(values):
    return np.asarray(values, float)[:, None]


def bleu_rows(count):
    references = (SENTENCES * count)[:count]
    predictions = [text.replace("the", "some") if row % 2 else text for row, text in enumerate(references)]
    return BLEU.statistics(predictions, [[text] for text in references])


@pytest.mark.parametrize(
    "values", [np.random.default_rng(0).beta(2, 5, 300), np.random.default_rng(0).random(300) < 0.7]
)
def test_percentiles_of_resamples_agree_with_scipy(values):
    ours = np.quantile(bootstrap.resampled_scores(ACCURACY, column(values), name="task"), [0.025, 0.975])
    theirs = scipy.stats.bootstrap(
        (values.astype(float),), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.005)


def test_draws_depend_on_the_name_and_the_seed_and_not_on_chunking(monkeypatch):
    rows = column(np.random.default_rng(0).random(50))
    scores = bootstrap.resampled_scores(ACCURACY, rows, name="a")
    assert not np.array_equal(scores, bootstrap.resampled_scores(ACCURACY, rows, name="b"))
    assert not np.array_equal(scores, bootstrap.resampled_scores(ACCURACY, rows, name="a", seed=1))
    monkeypatch.setattr(bootstrap, "_CHUNK_ROWS", 333)
    np.testing.assert_array_equal(scores, bootstrap.resampled_scores(ACCURACY, rows, name="a"))


def test_counts_of_kinds_are_drawn_as_rows_are(monkeypatch):
    rows = bleu_rows(30)
    few = bootstrap.resampled_scores(BLEU, rows, name="t", resamples=4000)
    monkeypatch.setattr(bootstrap, "_FEW_KINDS", 0)
    many = bootstrap.resampled_scores(BLEU, rows, name="t", resamples=4000)
    assert np.ptp(few) > 0
    np.testing.assert_allclose(np.quantile(few, [0.05, 0.5, 0.95]), np.quantile(many, [0.05, 0.5, 0.95]), atol=0.02)


def test_a_resample_of_a_corpus_is_scored_as_a_corpus(monkeypatch):
    monkeypatch.setattr(bootstrap, "_FEW_KINDS", 0)
    rows = bleu_rows(30)
    scores = bootstrap.resampled_scores(BLEU, rows, name="t", resamples=50)
    drawn = bootstrap.generator(0, "t").integers(30, size=(50, 30), dtype=np.int32)
    np.testing.assert_allclose(scores, [BLEU.of(rows[own]) for own in drawn])


@pytest.mark.parametrize("name", ["accuracy", "spearman"])
def test_units_are_drawn_with_all_of_their_rows(name):
    rng = np.random.default_rng(0)
    rows = rng.random((60, 2)) if name == "spearman" else column(rng.random(60))
    units = np.repeat(np.arange(12), [1, 2, 3, 4, 5, 5, 5, 5, 6, 7, 8, 9])
    scores = bootstrap.resampled_scores(METRICS.get(name), rows, name="t", units=units, resamples=400)
    drawn = bootstrap.generator(0, "t", "units").multinomial(12, np.full(12, 1 / 12), size=400)
    expected = [METRICS.get(name).of(np.repeat(rows, times[units], axis=0)) for times in drawn]
    np.testing.assert_allclose(scores, expected, atol=1e-12)
