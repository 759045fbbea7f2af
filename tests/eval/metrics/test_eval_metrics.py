import json
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU, CHRF

from flan_jax.errors import UserError
from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.metrics.string_metrics import normalize
from flan_jax.tasks.catalog import TASKS

# Made by make_reference_scores.py with the official scripts of SQuAD and TriviaQA, scikit-learn, SciPy and rapidfuzz.
REFERENCE = json.loads((Path(__file__).parents[2] / "golden/metric_scores.json").read_text(encoding="utf-8"))

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
def test_squad_f1_compares_bags_of_words(prediction, references, expected):
    assert score("squad_f1", prediction, *references) == pytest.approx(expected)


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


@pytest.mark.parametrize(
    ("name", "library"),
    [("bleu", BLEU()), ("bleu_intl", BLEU(tokenize="intl")), ("chrf", CHRF())],
)
def test_the_signature_is_sacrebleus(name, library):
    same, varying = [["a b", "c"]] * 3, [["a b"], ["a b", "c"], ["d"]]
    for references in (same, varying):
        streams = [[r[at] if at < len(r) else None for r in references] for at in range(2)]
        library.corpus_score(["a b"] * 3, streams)
        assert METRICS.get(name).signature(references) == str(library.get_signature())


def test_bleu_of_one_example_is_sentence_bleu():
    metric = METRICS.get("bleu")
    sentences = [("the cat sat on the mat", ["the cat sat on a mat"]), ("cat", ["cat"]), ("", ["cat"])]
    rows = metric.statistics(*zip(*sentences, strict=True))
    expected = [sacrebleu.sentence_bleu(p, r).score / 100 for p, r in sentences]
    np.testing.assert_allclose(metric.example_scores(rows), expected, atol=1e-9)


@given(PAIRS)
def test_every_metric_stays_between_0_and_1_and_is_1_on_its_references(pairs):
    predictions, references = zip(*pairs, strict=True)
    for name in [*METRICS, "f1_of:cat", "macro_f1:cat|x", "mcc:cat"]:
        if name in ("pearson", "spearman", "meteor"):  # of numbers, and of words that WordNet knows
            continue
        metric = METRICS.get(name)
        rows = metric.statistics(predictions, references)
        scores = metric.example_scores(rows)
        assert rows.shape[0] == len(scores) == len(pairs)
        assert ((scores >= 0) & (scores <= 1 + 1e-9)).all()
        assert metric.of(rows) == pytest.approx(metric(predictions, references))
        assert -("mcc" in name) <= metric.of(rows) <= 1 + 1e-9
    assert METRICS.get("exact_match")([r[0] for r in references], references) == 1


@pytest.mark.parametrize("name", ["squad_em", "squad_f1", "trivia_qa_em", "trivia_qa_f1"])
def test_question_answering_scores_are_those_of_the_official_scripts(name):
    for case in REFERENCE["qa"]:
        assert score(name, case["prediction"], *case["references"]) == pytest.approx(case[name]), case
    assert len({case[name] for case in REFERENCE["qa"]}) >= (2 if name.endswith("em") else 5)


def test_edit_similarity_is_rapidfuzzs():
    for case in REFERENCE["distances"]:
        assert score("edit_similarity", case["prediction"], case["reference"]) == pytest.approx(case["edit_similarity"])


@pytest.mark.parametrize("name", ["f1_of:yes", "mcc:yes", "macro_f1:yes|no|it's neither", "balanced_accuracy"])
def test_scores_of_classes_are_scikit_learns(name):
    for case in REFERENCE["classes"]:
        references = [[text] for text in case["references"]]
        assert METRICS.get(name)(case["predictions"], references) == pytest.approx(case[name], abs=1e-12)


def test_entities_are_those_of_seqeval():
    case = REFERENCE["entities"]
    found = METRICS.get("entity_f1")(case["predictions"], [[text] for text in case["references"]])
    assert found == pytest.approx(case["entity_f1"], abs=1e-12)
    assert 0.05 < found < 0.95


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("Ada Bell (Person)", "Ada Bell (person)", 1.0),
        ("ada bell (person)", "Ada Bell (person)", 0.0),
        ("The Who, Inc. (group), Tarn (place)", "Tarn (place), The Who, Inc. (group)", 1.0),
        ("Tarn (place), Tarn (place)", "Tarn (place)", 2 / 3),
        ("none", "none", 1.0),
        ("none", "Tarn (place)", 0.0),
        ("Tarn (place", "Tarn (place)", 0.0),
    ],
)
def test_entities_are_read_from_what_an_answer_lists(prediction, reference, expected):
    assert score("entity_f1", prediction, reference) == pytest.approx(expected)


def test_a_resample_without_a_class_is_the_mean_over_the_others():
    metric = METRICS.get("balanced_accuracy")
    rows = metric.statistics(["a", "x", "b", "b"], [["a"], ["a"], ["b"], ["c"]])
    assert metric.of(rows) == pytest.approx((1 / 2 + 1 + 0) / 3)
    np.testing.assert_allclose(metric.of_rows(rows[[[0, 0, 2], [0, 1, 1]]]), [1.0, 1 / 3])


def test_pearson_is_scipys():
    for case in REFERENCE["correlations"]:
        predictions, references = map(str, case["predictions"]), [[str(number)] for number in case["references"]]
        assert METRICS.get("pearson")(list(predictions), references) == pytest.approx(case["pearson"], abs=1e-9)


def test_pearson_counts_what_is_no_number_as_declared():
    references = [["1"], ["2"], ["3"], ["4"]]
    for odd in ("four", "nan", "inf", "1e300", ""):
        assert METRICS.get("pearson")(["1", "2", "3", odd], references) == METRICS.get("pearson")(
            ["1", "2", "3", "-1"], references
        )
        assert METRICS.get("pearson:4")(["1", "2", "3", odd], references) == pytest.approx(1)
    with pytest.raises(UserError, match="reference 'two' is none"):
        METRICS.get("pearson")(["2"], [["two"]])
    with pytest.raises(UserError, match="'x' is no number"):
        METRICS.get("pearson:x")


@pytest.mark.parametrize("constant", ["0.1", "1e300", "-1"])
def test_without_variance_there_is_no_correlation(constant):
    assert METRICS.get("pearson")([constant] * 7, [[str(i)] for i in range(7)]) == 0
    assert METRICS.get("mcc:yes")(["yes"] * 3, [["yes"], ["no"], ["no"]]) == 0
    assert METRICS.get("f1_of:yes")(["no"] * 3, [["no"]] * 3) == 0


def test_classes_are_told_apart_by_case_and_punctuation_only_where_nothing_else_is_left():
    assert METRICS.get("f1_of:it's neither")(["It's Neither."], [["its neither"]]) == 1
    assert METRICS.get("f1_of:+")(["+", "-"], [["+"], ["-"]]) == 1
    assert METRICS.get("f1_of:+")(["-"], [["+"]]) == 0


def test_each_example_of_a_class_metric_has_its_own_score():
    predictions, references = ["yes", "no", "maybe", "no"], [["yes"], ["yes"], ["no"], ["no"]]
    for name, expected in (("f1_of:yes", [1, 0, 1, 1]), ("mcc:yes", [1, 0, 1, 1]), ("macro_f1:yes|no", [1, 0, 0, 1])):
        metric = METRICS.get(name)
        assert metric.example_scores(metric.statistics(predictions, references)).tolist() == expected


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("Six and two are eight. So the answer is 8.", "8", 1),
        ("The answer is 4. No: the final answer is: $1,200.00 a year. I had 3 left.", "1200", 1),
        ("The answer is 3 * 6 = 18.", "18", 1),
        ("The answer is 18 apples", "19", 0),
        ("3 + 4 = 7", "7", 1),  # no mark: the last number
        ("7 = 3 + 4", "7", 0),
        ("The answer is seven", "7", 0),
        ("Answer: -2.50", "-2.5", 1),
        ("Dogs bark, so the answer is (B) a dog. Cats do not.", "(b) a dog", 1),
        ("The answer is U.S. history.", "U.S. history", 1),
        ("The answer is yes.", "Birds fly. The answer is yes.", 1),
        ("yes", "yes", 1),
        ("The answer is no, not yes.", "yes", 0),
        ("", "yes", 0),
    ],
)
def test_the_final_answer_of_a_chain_of_thought(prediction, reference, expected):
    assert score("final_answer", prediction, reference) == expected


def test_rouge_2_counts_pairs_and_rouge_lsum_sentences():
    assert score("rouge2", "a b c d", "a b d c") == pytest.approx(1 / 3)
    assert score("rougeLsum", "cats sat . dogs ran .", "dogs ran . cats sat .") == pytest.approx(1)
    assert score("rougeL", "cats sat . dogs ran .", "dogs ran . cats sat .") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("f1_of", "needs a parameter.*f1_of:yes"),
        ("f1of:yes", r"Unknown metric 'f1of:yes'. Did you mean 'f1_of:yes'"),
        ("macro_f1:a|a", "different answers"),
        ("f1_of: ", "different answers"),
        ("accuracy:x", "Unknown metric 'accuracy:x'. Did you mean 'accuracy'"),
    ],
)
def test_a_bad_parameter_is_one_clear_error(name, message):
    with pytest.raises(UserError, match=message):
        METRICS.get(name)


def test_an_unknown_metric_suggests_its_neighbour():
    with pytest.raises(UserError, match=r"Unknown metric 'rouge_l'.*'rougeL'"):
        METRICS.get("rouge_l")


def test_every_catalogued_task_names_metrics_that_are_there():
    import mixtures  # noqa: F401  registers the tasks

    for name in TASKS:
        spec = TASKS.get(name)
        for metric in (spec.metric, *spec.other_metrics):
            METRICS.get(metric)
            family, _, classes = metric.partition(":")
            if family in ("f1_of", "macro_f1", "mcc"):
                assert {normalize(text) for text in classes.split("|")} <= set(map(normalize, spec.options)), name
