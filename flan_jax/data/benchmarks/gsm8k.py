"""GSM8K (Cobbe et al. 2021) with a chain of thought in eight shots (Wei et al. 2022).

``test.jsonl`` and ``train.jsonl`` have ``question`` and ``answer``, which ends in a line ``#### N``. A prompt is
``Q: … A: …`` eight times, each answer ending in "The answer is N.", and ``Q: QUESTION``, ``A:``.

The eight questions of Wei et al. are no part of GSM8K's files. Users bring them as ``--exemplars FILE``: a text of
``Q:`` and ``A:`` with blank lines between, as the paper prints it, or JSON Lines with ``question`` and ``answer``. Without
one, each question gets eight of its own from ``train.jsonl``, drawn by (seed, task, example): the calculator's marks
``<<…>>`` go, lines become sentences of one line, and the last is "The answer is N.".

The metric, ``stated_number``, is the number behind the last "answer is"; ``last_number``, beside it, the last of all.
"""

import re
from pathlib import Path

from flan_jax.data.benchmarks.benchmark import Benchmark, BenchmarkTask, Question, ReadingChoices, Shot
from flan_jax.data.benchmarks.published_files import read_json_lines, read_text, text_fields
from flan_jax.data.benchmarks.solved_text import split_solved
from flan_jax.errors import UserError

_WHAT = "an object with 'question' and an 'answer' that ends in '#### NUMBER'"
_CALCULATOR = re.compile(r"<<[^<>]*>>")
_ANSWER = re.compile(r"\n####\s*(-?[\d.,]*\d)\s*$")
_SENTENCE_END = (".", "!", "?", ":", ";", ",")


def read_task(folder: Path, name: str, choices: ReadingChoices) -> BenchmarkTask:
    """Reads the test, and solved questions where some are wanted.

    Raises:
        UserError: a file is missing, or a line of another form.
    """
    rows = _rows(folder / "test.jsonl")
    questions = tuple(
        Question(index, f"Q: {question}\nA:", {"question": question}, (number,))
        for index, (question, _, number) in enumerate(rows[: choices.limit] if choices.limit else rows)
    )
    if choices.exemplars is not None or not choices.shots:
        shots = () if choices.exemplars is None else _shots_of_file(choices.exemplars)
        return BenchmarkTask("gsm8k", "math", "", questions, shots)
    train = _rows(folder / "train.jsonl")
    shots = tuple(_shot(question, reasons, number) for question, reasons, number in train)
    note = "The solved questions are drawn from the training split, as the published eight are no part of the data."
    return BenchmarkTask("gsm8k", "math", "", questions, shots, "drawn", (note,))


def reasons_of(answer: str) -> str:
    """Writes an answer of the file as sentences in one line, without its last line and the calculator's marks.

    >>> reasons_of("It is 2*3=<<2*3=6>>6 eggs\\nHe sells them.\\n#### 6")
    'It is 2*3=6 eggs. He sells them.'
    """
    lines = [line.strip() for line in _CALCULATOR.sub("", _ANSWER.sub("", answer)).split("\n")]
    return " ".join(line if line.endswith(_SENTENCE_END) else f"{line}." for line in lines if line)


def _rows(path: Path) -> list[tuple[str, str, str]]:
    """(question, reasons, number) of each line."""
    rows = []
    for line, record in read_json_lines(path, _WHAT):
        question, answer = text_fields(record, ("question", "answer"), f"{path}, line {line}", _WHAT)
        found = _ANSWER.search(answer)
        if found is None:
            raise UserError(f"{path}, line {line}: the answer ends in {answer[-40:]!r}, but {_WHAT} was expected.")
        rows.append((question.strip(), reasons_of(answer), found[1].replace(",", "")))
    return rows


def _shot(question: str, reasons: str, number: str) -> Shot:
    return Shot(f"Q: {question}\nA: {reasons} The answer is {number}.\n\n", {"question": question})


def _shots_of_file(path: Path) -> tuple[Shot, ...]:
    if path.suffix == ".jsonl":
        return tuple(_shot(*row) for row in _rows(path))
    _, solved = split_solved(read_text(path, "solved questions, 'Q: …' and 'A: …'"), str(path))
    return tuple(Shot(f"Q: {question}\nA: {answer}\n\n", {"question": question}) for question, answer in solved)


GSM8K = Benchmark(
    name="gsm8k",
    title="GSM8K (Cobbe et al. 2021)",
    follows="Wei et al. 2022, eight solved questions with reasons: the number behind 'The answer is'",
    version=1,
    shots=8,
    metric="stated_number",
    other_metrics=("last_number",),
    predict="generate",
    files="test.jsonl, and train.jsonl or a file of solved questions",
    folders=("gsm8k", "grade_school_math/data"),
    marker="test.jsonl",
    tasks=lambda folder: {"gsm8k": "math"},
    read=read_task,
    exemplars_from="--exemplars FILE (Wei et al.'s), or drawn from train.jsonl",
    answer_tokens=256,
    stop=("Q:",),
)
