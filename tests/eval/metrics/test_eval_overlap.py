"""Scores of texts in any language, each against the official script or library (``make_overlap_scores.py``)."""

import json
from pathlib import Path

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.eval.metrics import overlap
from flan_jax.eval.metrics.registry import METRICS
from flan_jax.eval.statistics.bca import bca_interval

REFERENCE = json.loads((Path(__file__).parents[2] / "golden/overlap_scores.json").read_text(encoding="utf-8"))
CORPUS = REFERENCE["corpus"]
SAME = (
    "今天天气很好。",
    "Привет, мир!",
    "नमस्ते दुनिया",
    "東京に行きます。",
    "สวัสดีชาวโลก",
    "안녕하세요",
    "مرحبا",
    "বাংলা",
    "Γειά σου",
)


def one(name, prediction, *references):
    return METRICS.get(name)([prediction], [references])


@pytest.mark.parametrize("name", ["drop_em", "drop_f1"])
def test_drop_scores_are_those_of_the_official_script(name):
    for case in REFERENCE["drop"]:
        assert one(name, case["prediction"], case["reference"]) == case[name], case
    assert len({case[name] for case in REFERENCE["drop"]}) >= (2 if name == "drop_em" else 5)


@pytest.mark.parametrize("name", ["bleu_intl", "chrf"])
def test_scores_of_a_corpus_are_sacrebleus(name):
    metric = METRICS.get(name)
    assert metric(CORPUS["predictions"], CORPUS["references"]) == pytest.approx(CORPUS[name], abs=1e-12)
    if name == "chrf":
        rows = metric.statistics(CORPUS["predictions"], CORPUS["references"])
        np.testing.assert_allclose(metric.example_scores(rows), CORPUS["chrf_by_sentence"], atol=1e-12)


def test_spearman_is_scipys_and_is_resampled_by_rows():
    metric = METRICS.get("spearman")
    for case in REFERENCE["ranks"]:
        predictions, references = map(str, case["predictions"]), [[str(number)] for number in case["references"]]
        assert metric(list(predictions), references) == pytest.approx(case["spearman"], abs=1e-12)
    rows = metric.statistics([str(x) for x in range(30)], [[str(x + x % 5)] for x in range(30)])
    low, high = bca_interval(metric, rows, name="t")
    assert low < metric.of(rows) < high <= 1
    assert metric(["1", "1"], [["1"], ["2"]]) == 0.0  # nothing varies
    assert METRICS.get("spearman:9")(["1", "no number", "3"], [["1"], ["9"], ["3"]]) == 1.0


@pytest.mark.parametrize("text", SAME)
def test_equal_texts_of_any_script_are_equal(text):
    for name in ("rougeL_unicode", "chrf"):
        assert one(name, text, text) == 1.0
    assert one("rougeL_unicode", "…", text) == 0.0


def test_words_of_scripts_without_spaces_are_compared_sign_by_sign():
    assert one("rougeL_unicode", "今天很好", "今天天气很好") == pytest.approx(2 * 4 / (4 + 6))
    assert overlap.unicode_tokens("e\u0301té naïve_x 3,5") == ["e\u0301té", "naïve", "x", "3", "5"]


@pytest.mark.realdata
def test_tokens_of_gpt2_give_the_published_cross_lingual_score(realdata):
    metric = METRICS.get(f"rougeL_tokens:{realdata / 'tokenizers/gpt2'}")
    rows = metric.statistics(CORPUS["predictions"], CORPUS["references"])
    np.testing.assert_allclose(metric.example_scores(rows), CORPUS["rougeL_gpt2"], atol=1e-12)
    assert all(metric([text], [[text]]) == 1.0 for text in SAME)


def test_what_a_metric_lacks_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"neither tokenizer.json nor vocab.json.*rougeL_unicode"):
        METRICS.get(f"rougeL_tokens:{tmp_path}")
    monkeypatch.setattr("nltk.data.path", [str(tmp_path)])
    overlap._wordnet.cache_clear()
    with pytest.raises(UserError, match="WordNet, which is not on this machine"):
        one("meteor", "a cat", "the cat")
