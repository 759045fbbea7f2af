"""Scores by the official scripts and by published libraries, for ``test_eval_metrics.py`` to compare with.

    python tests/eval/metrics/make_reference_scores.py --squad evaluate-v2.0.py --trivia_qa evaluation/triviaqa_evaluation.py

Needs SQuAD's evaluate-v2.0.py and a checkout of TriviaQA's repository on PYTHONPATH, and an environment with
scikit-learn, SciPy, rapidfuzz and seqeval. The texts are made up here; only they and the numbers are kept.
"""

import argparse
import importlib.util
import json
import random
from pathlib import Path

import rapidfuzz.distance
import scipy.stats
import seqeval.metrics
import sklearn.metrics

OUTPUT = Path(__file__).parents[2] / "golden/metric_scores.json"
WORDS = [
    "the",
    "a",
    "an",
    "The",
    "cat",
    "Cat",
    "cat's",
    "well-known",
    "it’s",
    "‘so’",
    "under_score",
    "U.S.",
    "3,000",
    "x",
    "é",
    "Élan",
    "ß",
    "ー",
    ".",
    "!",
    "`tick`",
    "´",
    "an\xa0apple",
]


def load(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem.replace("-", "_").replace(".", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(rng, count, longest):
    return [rng.choice([" ", "  ", "\t"]).join(rng.choices(WORDS, k=rng.randint(0, longest))) for _ in range(count)]


def qa(rng, squad, trivia_qa):
    cases = []
    for prediction in ["", "the", "The cat.", "cat_food", *texts(rng, 60, 5)]:
        references = [text for text in texts(rng, 3, 4)] + ([prediction.upper() + "!"] if rng.random() < 0.3 else [])
        best = trivia_qa.metric_max_over_ground_truths
        cases.append(
            {
                "prediction": prediction,
                "references": references,
                "squad_em": max(squad.compute_exact(gold, prediction) for gold in references),
                "squad_f1": max(squad.compute_f1(gold, prediction) for gold in references),
                "trivia_qa_em": int(best(trivia_qa.exact_match_score, prediction, references)),
                "trivia_qa_f1": best(trivia_qa.f1_score, prediction, references),
            }
        )
    return cases


def distances(rng):
    pairs = [("kitten", "sitting"), ("", "abc"), ("", ""), ("same", "same"), ("日本語", "日本"), ("a😀b", "ab")]
    pairs += [tuple("".join(rng.choices("abc é😀", k=rng.randint(0, 40))) for _ in range(2)) for _ in range(40)]
    similarity = rapidfuzz.distance.Levenshtein.normalized_similarity
    return [{"prediction": a, "reference": b, "edit_similarity": similarity(a, b)} for a, b in pairs]


def balanced_accuracy(expected, predicted):
    # sklearn.metrics.balanced_accuracy_score warns of predicted classes that do not occur; its value is this.
    return sklearn.metrics.recall_score(
        expected, predicted, labels=sorted(set(expected)), average="macro", zero_division=0
    )


def entities(rng):
    """Sentences of one name a token, so that seqeval's spans and an answer that lists names say the same."""
    made = []
    for _ in range(20):
        sides = []
        for _ in range(2):
            tags = [rng.choice(["O", "O", "B-person", "B-place", "B-creative work"]) for _ in range(rng.randint(1, 6))]
            sides.append(tags)
        length = min(map(len, sides))
        made.append([tags[:length] for tags in sides])
    expected, predicted = ([pair[side] for pair in made] for side in (0, 1))

    def listed(tags):
        return ", ".join(f"Name {at} ({tag[2:]})" for at, tag in enumerate(tags) if tag != "O") or "none"

    return {
        "predictions": list(map(listed, predicted)),
        "references": list(map(listed, expected)),
        "entity_f1": float(seqeval.metrics.f1_score(expected, predicted)),
    }


def classes(rng):
    made = []
    for _ in range(30):
        count, labels = rng.randint(2, 40), ["yes", "no", "it's neither"][: rng.choice([2, 3, 3])]
        expected, predicted = (rng.choices(labels, weights=[5, 3, 1][: len(labels)], k=count) for _ in range(2))
        positive = [[label == "yes" for label in side] for side in (expected, predicted)]
        made.append(
            {
                "predictions": predicted,
                "references": expected,
                "f1_of:yes": sklearn.metrics.f1_score(*positive, zero_division=0),
                "balanced_accuracy": balanced_accuracy(expected, predicted),
                "mcc:yes": sklearn.metrics.matthews_corrcoef(*positive),
                "macro_f1:yes|no|it's neither": sklearn.metrics.f1_score(
                    expected, predicted, labels=["yes", "no", "it's neither"], average="macro", zero_division=0
                ),
            }
        )
    return made


def correlations(rng):
    made = []
    for centre in (0, 2.5, 2000, -1e6):
        for _ in range(5):
            expected = [round(centre + rng.uniform(-3, 3), 2) for _ in range(20)]
            predicted = [round(number + rng.gauss(0, 2), 2) for number in expected]
            value = float(scipy.stats.pearsonr(predicted, expected)[0])
            made.append({"predictions": predicted, "references": expected, "pearson": value})
    return made


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--squad", required=True)
    arguments.add_argument("--trivia_qa", required=True)
    given = arguments.parse_args()
    rng = random.Random(0)
    content = {
        "qa": qa(rng, load(given.squad), load(given.trivia_qa)),
        "distances": distances(rng),
        "classes": classes(rng),
        "correlations": correlations(rng),
        "entities": entities(rng),
    }
    OUTPUT.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
