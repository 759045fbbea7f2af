"""MMLU with a chain of thought (Chung et al. 2022): the answer is generated behind "A: Let's think step by step.".

The prompt is FLAN's: a sentence with the subject, five questions with reasons written by the authors, each ending in
"The answer is (C).", and the question with its choices in one line. The reasons are no part of MMLU's files. Users bring
them as one JSON file, subject → text, as FLAN's authors published it and as lm-evaluation-harness keeps it
(``_cot_prompts.json``): ``--exemplars FILE``, or ``mmlu-cot.json`` beside the folders. What stands before its first
question is the preamble.

The metric, ``choice_answer``, is the letter behind the last "answer is" of what was written.
"""

from pathlib import Path

from flan_jax.data.benchmarks.benchmark import Benchmark, BenchmarkTask, Question, ReadingChoices, Shot
from flan_jax.data.benchmarks.mmlu import asks, questions_in_orders
from flan_jax.data.benchmarks.mmlu_files import LETTERS, ChoiceQuestion, read_subject, subjects
from flan_jax.data.benchmarks.mmlu_subjects import CATEGORIES
from flan_jax.data.benchmarks.published_files import read_json
from flan_jax.data.benchmarks.solved_text import split_solved
from flan_jax.errors import UserError, did_you_mean

NAMES = ("mmlu-cot.json", "_cot_prompts.json", "cot_prompts.json")
_WHAT = "a JSON object of subjects, each with its prompt of solved questions"
_THINK = "A: Let's think step by step."


def asked(row: ChoiceQuestion, places: tuple[int, ...] = (0, 1, 2, 3)) -> str:
    """Writes a question with its choices in one line, the choice ``places[i]`` at place i."""
    listed = " ".join(f"({letter}) {row.choices[index]}" for letter, index in zip(LETTERS, places, strict=True))
    return f"Q: {row.question.strip()}\n{listed}\n{_THINK}"


def read_task(folder: Path, subject: str, choices: ReadingChoices) -> BenchmarkTask:
    """Reads a subject.

    Raises:
        UserError: as ``read_subject``; or no solved questions are there.
    """
    name = f"mmlu_cot_{subject}"
    rows = read_subject(folder, "test", subject)
    preamble = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}."
    shots: tuple[Shot, ...] = ()
    if choices.shots:
        first, shots = _solved(_prompts_file(folder, choices), subject, rows)
        preamble = first or preamble
    questions = tuple(
        Question(index, asked(row, places), asks(row), (f"({LETTERS[places.index(row.answer)]})",), (), number, places)
        for index, row, number, places in questions_in_orders(rows, name, choices)
    )
    return BenchmarkTask(name, CATEGORIES[subject], f"{preamble}\n\n", questions, shots)


def _prompts_file(folder: Path, choices: ReadingChoices) -> Path:
    if choices.exemplars is not None:
        return choices.exemplars
    found = next((folder / name for name in NAMES if (folder / name).is_file()), None)
    if found is None:
        raise UserError(
            f"{str(folder)!r} has no {' or '.join(NAMES)}, and the reasons of MMLU's solved questions are no part of its "
            "files. Put FLAN's file there or name it (--exemplars FILE), or ask without any (--shots 0)."
        )
    return found


def _solved(path: Path, subject: str, rows: list[ChoiceQuestion]) -> tuple[str, tuple[Shot, ...]]:
    content = read_json(path, _WHAT)
    if not isinstance(content, dict) or not all(isinstance(text, str) for text in content.values()):
        raise UserError(f"{path}: not {_WHAT}.")
    if subject not in content:
        raise UserError(
            f"{path} has no subject {subject!r}.{did_you_mean(subject, content)} Add it, or leave it out (--tasks)."
        )
    # A question of the test has its choices in the same line, so the whole text is what is compared.
    whole = {asked(row).removesuffix(f"\n{_THINK}").removeprefix("Q: "): row for row in rows}
    first, solved = split_solved(content[subject], f"{path}, {subject!r}")
    shots = tuple(
        Shot(
            f"Q: {question}\nA: {answer}\n\n",
            asks(whole[question]) if question in whole else {"question": question},
        )
        for question, answer in solved
    )
    return first, shots


MMLU_COT = Benchmark(
    name="mmlu_cot",
    title="MMLU with a chain of thought (Chung et al. 2022)",
    follows="FLAN's chain-of-thought prompts: the letter behind 'The answer is'",
    version=1,
    shots=5,
    metric="choice_answer",
    predict="generate",
    files=f"test/SUBJECT_test.csv, and FLAN's prompts as {NAMES[0]}",
    folders=("mmlu", "data"),
    marker="test",
    tasks=subjects,
    read=read_task,
    exemplars_from=f"{NAMES[0]} of the folder, or --exemplars FILE",
    answer_tokens=256,
    stop=("Q:",),
    reorders=True,
)
