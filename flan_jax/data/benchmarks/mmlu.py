"""MMLU, direct (Hendrycks et al. 2021): a letter is chosen by its likelihood behind "Answer:".

The prompt is that of the authors' ``evaluate.py``: a sentence with the subject, in front of whose name are two spaces;
the first k questions of ``dev`` with their letters; the question. Where it does not fit, the last solved question goes
first, as there. The metric is accuracy over the letters; the published average counts every question once
(``example_mean`` of the results), not every subject.

Texts are those of the files; the authors read them with pandas, which turns a choice such as ``None`` into ``nan``.
"""

from pathlib import Path

from flan_jax.data.benchmarks.benchmark import Benchmark, BenchmarkTask, Question, ReadingChoices, Shot
from flan_jax.data.benchmarks.mmlu_files import LETTERS, ChoiceQuestion, read_subject, subjects
from flan_jax.data.benchmarks.mmlu_subjects import CATEGORIES
from flan_jax.errors import UserError
from flan_jax.tasks.rendering.option_orders import option_orders


def asks(row: ChoiceQuestion) -> dict[str, object]:
    """Says what a question asks, whatever the order of its choices."""
    return {"question": row.question, "choices": sorted(row.choices)}


def preamble(subject: str) -> str:
    """Writes the first sentence of a prompt.

    >>> preamble("us_foreign_policy")
    'The following are multiple choice questions (with answers) about  us foreign policy.\\n\\n'
    """
    return f"The following are multiple choice questions (with answers) about  {subject.replace('_', ' ')}.\n\n"


def asked(row: ChoiceQuestion, places: tuple[int, ...] = (0, 1, 2, 3)) -> str:
    """Writes a question with its choices, the choice ``places[i]`` at place i."""
    listed = [f"{letter}. {row.choices[index]}" for letter, index in zip(LETTERS, places, strict=True)]
    return "\n".join([row.question, *listed, "Answer:"])


def questions_in_orders(
    rows: list[ChoiceQuestion], task: str, choices: ReadingChoices
) -> list[tuple[int, ChoiceQuestion, int, tuple[int, ...]]]:
    """Lists (row's index, row, order's number, places) of every question in every order that is asked for."""
    rows = rows[: choices.limit] if choices.limit else rows
    return [
        (index, row, number, places)
        for index, row in enumerate(rows)
        for number, places in enumerate(
            option_orders(len(LETTERS), choices.option_orders, seed=choices.seed, task=task, example_id=index)
        )
    ]


def read_task(folder: Path, subject: str, choices: ReadingChoices) -> BenchmarkTask:
    """Reads a subject.

    Raises:
        UserError: as ``read_subject``; or a file of solved examples is named, which this format does not take.
    """
    if choices.exemplars is not None:
        raise UserError(
            f"mmlu shows the questions of dev, so it takes no file of solved examples ({str(choices.exemplars)!r}). "
            "Leave --exemplars out, or measure mmlu_cot."
        )
    name = f"mmlu_{subject}"
    rows = read_subject(folder, "test", subject)
    solved = read_subject(folder, "dev", subject) if choices.shots else []
    questions = tuple(
        Question(index, asked(row, places), asks(row), (LETTERS[places.index(row.answer)],), LETTERS, number, places)
        for index, row, number, places in questions_in_orders(rows, name, choices)
    )
    shots = tuple(Shot(f"{asked(row)} {LETTERS[row.answer]}\n\n", asks(row)) for row in solved)
    return BenchmarkTask(name, CATEGORIES[subject], preamble(subject), questions, shots)


MMLU = Benchmark(
    name="mmlu",
    title="MMLU (Hendrycks et al. 2021)",
    follows="hendrycks/test evaluate.py: letters ranked behind 'Answer:'",
    version=1,
    shots=5,
    metric="accuracy",
    predict="rank",
    files="test/SUBJECT_test.csv and dev/SUBJECT_dev.csv",
    folders=("mmlu", "data"),
    marker="test",
    tasks=subjects,
    read=read_task,
    exemplars_from="dev, in the file's order",
    reorders=True,
)
