"""Tiny invented benchmarks in the published layouts: as the files are, with questions that nobody published."""

import csv
import json
from pathlib import Path

_SEAS = [
    ("Which sea is warm?", ("Ona", "Pell", "Quar", "Rint"), 0),
    ("Which sea is cold?", ("Pell", "Quar", "Rint", "Ona"), 2),
    ("Which sea, of all, is deep?", ("Rint", "Ona", "Quar", "Pell"), 3),
    ("How salty is Ona?", ("Not at all", "A little", "Very", "Nobody knows"), 1),
    ('Who wrote "The Sea, the Sky"?', ("Mia", "Ken", "Bea", "Tom"), 2),
    ("Which is no sea?", ("Ona", "Pell", "Quar", "Hill"), 3),
]
_SUMS = [
    ("not ( False ) is", "True"),
    ("True and False is", "False"),
    ("not ( True and True ) is", "False"),
    ("False or True is", "True"),
]


def write_mmlu(
    folder: Path, *, named: bool = False, subjects: tuple[str, ...] = ("astronomy", "us_foreign_policy")
) -> Path:
    """Writes ``dev`` and ``test`` of some subjects: five solved questions and six to ask, and FLAN's kind of prompts.

    Args:
        folder: made where it is not there.
        named: with a line of names and answers from 0 to 3, as copies of the hub have them.
        subjects: names of MMLU's.
    """
    for split, rows in (("dev", _SEAS[:5]), ("test", _SEAS[::-1])):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for subject in subjects:
            with (folder / split / f"{subject}_{split}.csv").open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                if named:
                    writer.writerow(["question", *(f"choice{index}" for index in range(4)), "answer"])
                for question, choices, answer in rows:
                    asked = question if split == "dev" else _reworded(question)
                    writer.writerow([asked, *choices, answer if named else "ABCD"[answer]])
    prompts = {
        subject: f"These are questions about {subject.replace('_', ' ')}.\n\n"
        + "".join(
            f"Q: {question}\n{' '.join(f'({letter}) {choice}' for letter, choice in zip('ABCD', choices, strict=True))}\n"
            f"A: Let's think step by step. Sailors say so. The answer is ({'ABCD'[answer]}).\n\n"
            for question, choices, answer in _SEAS[:5]
        )
        for subject in subjects
    }
    (folder / "mmlu-cot.json").write_text(json.dumps(prompts), encoding="utf-8")
    return folder


def _reworded(question: str) -> str:
    """A question of the test has a word that no solved question has, so that none is asked twice."""
    first, rest = question.split(" ", 1)
    return f"{first} then {rest}"


def write_bbh(folder: Path, tasks: tuple[str, ...] = ("boolean_expressions", "snarks")) -> Path:
    """Writes ``bbh/TASK.json`` and ``cot-prompts/TASK.txt`` of some tasks: three solved questions, and two to ask."""
    for name in ("bbh", "cot-prompts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for task in tasks:
        examples = [{"input": f"not {asked}", "target": str(answer == "False")} for asked, answer in _SUMS[:2]]
        (folder / "bbh" / f"{task}.json").write_text(
            json.dumps({"canary": "INVENTED", "examples": examples}), encoding="utf-8"
        )
        solved = "\n\n".join(
            f"Q: {asked}\nA: Let's think step by step.\nWe read from the left: it is {answer}. So the answer is {answer}."
            for asked, answer in _SUMS[1:]
        )
        text = f"INVENTED DATA, MAY APPEAR ANYWHERE.\n-----\nSay what {task.replace('_', ' ')} come to.\n\n{solved}"
        (folder / "cot-prompts" / f"{task}.txt").write_text(text, encoding="utf-8")
    return folder


def write_gsm8k(folder: Path, *, train: int = 12, test: int = 3) -> Path:
    """Writes ``train.jsonl`` and ``test.jsonl``: so many sums each."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, first, count in (("train", 2, train), ("test", 100, test)):
        rows = [
            {
                "question": f"Mia has {n} eggs and buys {n + 1} more. How many has she?",
                "answer": f"She buys {n}+1=<<{n}+1={n + 1}>>{n + 1} eggs\nSo she has {n} + {n + 1} = <<{n}+{n + 1}={2 * n + 1}>>"
                f"{2 * n + 1:,} eggs.\n#### {2 * n + 1:,}",
            }
            for n in range(first, first + count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder
