"""Scores by the official scripts and by published libraries, for ``test_eval_overlap.py`` to compare with.

    python tests/eval/make_overlap_scores.py --drop drop_eval.py --gpt2 FOLDER --wordnet FOLDER

Needs DROP's official drop_eval.py, GPT-2's tokenizer, NLTK's WordNet (optional) and an environment with transformers.
The texts are made up here; only they and the numbers are kept.
"""

import argparse
import importlib.util
import json
import random
from pathlib import Path

import sacrebleu
import scipy.stats
from rouge_score import rouge_scorer
from transformers import GPT2Tokenizer

OUTPUT = Path(__file__).parents[2] / "golden/overlap_scores.json"
DROP = (
    "3", "3.0", "20-yard", "the 20 yard line", "Twenty", "1,500", "1500", "2 March 1999", "12 % of men", "12%",
    "a touchdown by Smith", "Smith's touchdown", "Smith", "", " ", "the", "-5", "5", "inf", "1e3", "Jones and Smith",
)  # fmt: skip
TEXTS = {
    "zh": ("今天天气很好。", "今天的天气非常好！", "我不知道", "今天天气很好。"),
    "ru": ("Привет, мир!", "Мир приветствует нас", "не знаю", "Привет, мир!"),
    "hi": ("नमस्ते दुनिया, कैसे हो?", "दुनिया को नमस्ते", "मुझे नहीं पता", "नमस्ते दुनिया, कैसे हो?"),
    "ja": ("東京に行きます。", "東京へ行く", "わかりません", "東京に行きます。"),
    "fr": ("L'été, il fait 30,5 °C — « chaud » !", "il fait chaud en été", "je ne sais pas", "Il fait 30.5 degrés."),
    "en": ("The cat sat on the mat.", "A cat is sitting on that mat", "I don't know", "the cat sat, on a mat"),
}
PAIRS = [(p, [r, other]) for group in TEXTS.values() for p in group for r, other in [(group[0], group[1])]]


class SpaceMarkGone:
    """GPT-2's tokens without the mark of a space in front, as the benchmark's evaluation compares them."""

    def __init__(self, folder):
        self.inner = GPT2Tokenizer(f"{folder}/encoder.json", f"{folder}/vocab.bpe")

    def tokenize(self, text):
        return [token.lstrip("Ġ") for token in self.inner.tokenize(text)]


def drop(path):
    spec = importlib.util.spec_from_file_location("drop_eval", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    cases = []
    for prediction in DROP:
        for reference in DROP:
            em, f1 = module.get_metrics(prediction, reference) if reference.strip() else (0.0, 0.0)
            cases.append({"prediction": prediction, "reference": reference, "drop_em": em, "drop_f1": f1})
    return cases


def corpora(gpt2):
    predictions, references = zip(*PAIRS, strict=True)
    streams = [list(stream) for stream in zip(*references, strict=True)]
    scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=SpaceMarkGone(gpt2))
    return {
        "predictions": predictions,
        "references": references,
        "bleu_intl": sacrebleu.corpus_bleu(list(predictions), streams, tokenize="intl").score / 100,
        "chrf": sacrebleu.corpus_chrf(list(predictions), streams).score / 100,
        "chrf_by_sentence": [sacrebleu.sentence_chrf(p, r).score / 100 for p, r in PAIRS],
        "rougeL_gpt2": [max(scorer.score(r, p)["rougeL"].fmeasure for r in accepted) for p, accepted in PAIRS],
    }


def ranks(rng):
    cases = []
    for count in (5, 20, 60):
        ours = [rng.randint(0, count // 2) for _ in range(count)]
        theirs = [value + rng.randint(-3, 3) for value in ours]
        cases.append(
            {"predictions": ours, "references": theirs, "spearman": scipy.stats.spearmanr(ours, theirs).statistic}
        )
    return cases


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--drop", required=True)
    parser.add_argument("--gpt2", required=True)
    options = parser.parse_args()
    found = {"drop": drop(options.drop), "corpus": corpora(options.gpt2), "ranks": ranks(random.Random(0))}
    OUTPUT.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
