import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from flan_jax.errors import UserError
from flan_jax.eval.metrics import METRICS, normalize

WORDS = st.lists(st.sampled_from(["the", "a", "cat", "sat", "mats", "running", "ran", "x"]), max_size=9).map(" ".join)
PAIRS = st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3)), min_size=1, max_size=6)


def score(name, prediction, *references):
    return METRICS.get(name)([prediction], [references])


def test_accuracy_wants_the_very_option():
    assert score("accuracy", "yes", "yes", "yeah") == 1
    assert score("accuracy", "Yes", "yes") == 0


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [("It's  B.", "its b", 1), ("the cat", "cat", 0), ("", "", 1), ("", "a", 0), ("B!", "b ", 1)],
)
def test_exact_match_normalises_as_super_natural_instructions_does(prediction, reference, expected):
    assert score("exact_match", prediction, reference) == expected


def test_normalize_keeps_articles_and_other_scripts():
    assert normalize("  The\tÄpfel, «a» B! ") == "the äpfel «a» b"


@pytest.mark.parametrize(
    ("prediction", "references", "expected"),
    [
        ("the cat sat", ["a cat"], 2 / 3),  # articles go: {cat sat} against {cat}
        ("dog", ["cat"], 0),
        ("cat cat", ["cat"], 2 / 3),  # bags, not sets
        ("dog sat", ["cat", "dog"], 2 / 3),
        ("the", ["a"], 1),  # both empty after normalisation
        ("", ["cat"], 0),
    ],
)
def test_token_f1_is_that_of_squad(prediction, references, expected):
    assert score("token_f1", prediction, *references) == pytest.approx(expected)


def test_rouge_l_is_stemmed_and_takes_the_best_reference():
    assert score("rougeL", "running cats", "run cat") == pytest.approx(1)
    assert score("rougeL", "a b c d", "d c b a", "a c d") == pytest.approx(2 * (3 / 4) * 1 / (3 / 4 + 1))
    assert score("rouge1", "a b c d", "d c b a") == pytest.approx(1)
    assert score("rougeL", "", "something") == 0


@given(PAIRS)
def test_rouge_l_is_the_benchmarks_mean_of_maxima(pairs):
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
    best = [max(scorer.score(r, prediction)["rougeL"].fmeasure for r in references) for prediction, references in pairs]
    assert METRICS.get("rougeL")(*zip(*pairs, strict=True)) == pytest.approx(sum(best) / len(best))


@given(PAIRS)
def test_bleu_is_sacrebleus_corpus_bleu(pairs):
    predictions, references = zip(*pairs, strict=True)
    most = max(map(len, references))
    streams = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    expected = sacrebleu.corpus_bleu(list(predictions), streams).score / 100
    assert METRICS.get("bleu")(predictions, references) == pytest.approx(expected, abs=1e-9)


def test_bleu_of_one_example_is_sentence_bleu():
    metric = METRICS.get("bleu")
    sentences = [("the cat sat on the mat", ["the cat sat on a mat"]), ("cat", ["cat"]), ("", ["cat"])]
    rows = metric.statistics(*zip(*sentences, strict=True))
    expected = [sacrebleu.sentence_bleu(p, r).score / 100 for p, r in sentences]
    np.testing.assert_allclose(metric.example_scores(rows), expected, atol=1e-9)


@given(PAIRS)
def test_every_metric_stays_between_0_and_1_and_is_1_on_its_references(pairs):
    predictions, references = zip(*pairs, strict=True)
    for name in METRICS:
        metric = METRICS.get(name)
        rows = metric.statistics(predictions, references)
        scores = metric.example_scores(rows)
        assert rows.shape[0] == len(scores) == len(pairs)
        assert ((scores >= 0) & (scores <= 1 + 1e-9)).all()
        assert metric.of(rows) == pytest.approx(metric(predictions, references))
        assert 0 <= metric.of(rows) <= 1 + 1e-9
    assert METRICS.get("exact_match")([r[0] for r in references], references) == 1


def test_an_unknown_metric_suggests_its_neighbour():
    with pytest.raises(UserError, match=r"Unknown metric 'rouge_l'.*'rougeL'"):
        METRICS.get("rouge_l")
