"""Scores of MultiRC and ReCoRD by their definitions, for ``test_eval_groups.py`` to compare with.

    python tests/eval/make_group_scores.py

Nothing here uses the package: MultiRC's two scores are counted question by question, ReCoRD's as its published
script defines them (texts of a query compared after SQuAD's normalization, the best of its answers counted).
The texts are made up here.
"""

import collections
import json
import random
import re
import string
from pathlib import Path

OUTPUT = Path(__file__).parents[2] / "golden/group_scores.json"
ENTITIES = (
    "Anna Berg", "Berg", "Dr. Anna Berg", "the Anna Berg", "Oslo", "City of Oslo", "OSLO!", "The Who", "Who", "A", "The",
    "U.S.", "US", "Smith-Jones", "Smith Jones", "Smith", "Åse Lund", "AC/DC", "St. John's", "St John", "2012", "100,000",
    "Oslo Oslo", "Anna Anna Berg",
)  # fmt: skip
ENDINGS = (" won the race.", "'s brother had called Berg from Oslo", ", of all people, was the first", "", " .", " the")


def multirc(rng):
    """A corpus of questions of one to nine answers, in the order of the file and in another."""
    rows = []
    for question in range(40):
        skill = rng.random()
        for _ in range(rng.randint(1, 9)):
            label = rng.choice(["no", "yes"])
            rows.append(
                (f"{question // 5}.{question}", label if rng.random() < skill else rng.choice(["no", "yes"]), label)
            )
    rng.shuffle(rows)
    right_yes = sum(predicted == expected == "yes" for _, predicted, expected in rows)
    said_yes = sum(predicted == "yes" for _, predicted, _ in rows)
    true_yes = sum(expected == "yes" for _, _, expected in rows)
    precision, recall = right_yes / said_yes, right_yes / true_yes
    questions = collections.defaultdict(list)
    for group, predicted, expected in rows:
        questions[group].append(predicted == expected)
    return {
        "rows": rows,
        "f1a": 2 * precision * recall / (precision + recall),
        "em": sum(map(all, questions.values())) / len(questions),
    }


def normalized(text):
    text = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(prediction, truth):
    ours, theirs = normalized(prediction).split(), normalized(truth).split()
    same = sum((collections.Counter(ours) & collections.Counter(theirs)).values())
    if same == 0:
        return 0
    precision, recall = 1.0 * same / len(ours), 1.0 * same / len(theirs)
    return (2 * precision * recall) / (precision + recall)


def record(rng):
    queries = []
    for _ in range(120):
        entities = rng.sample(ENTITIES, rng.randint(2, 8))
        answers = rng.sample(entities, rng.randint(1, min(3, len(entities))))
        chosen = rng.choice(entities)
        queries.append(
            {
                "ending": rng.choice(ENDINGS),
                "entities": entities,
                "answers": answers,
                "chosen": chosen,
                "f1": max(f1(chosen, answer) for answer in answers),
                "em": max(float(normalized(chosen) == normalized(answer)) for answer in answers),
            }
        )
    return {
        "queries": queries,
        "f1": sum(query["f1"] for query in queries) / len(queries),
        "em": sum(query["em"] for query in queries) / len(queries),
    }


def main():
    rng = random.Random(0)
    content = {"multirc": multirc(rng), "record": record(rng)}
    OUTPUT.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
