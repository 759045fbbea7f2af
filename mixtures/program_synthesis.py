"""Program synthesis: code from its description. Flan 2022 had it; the data were never published.

``mbpp`` is a public data set; ``program_synthesis`` reads a user's own: every file in
``DATA_DIR/program_synthesis/*.jsonl``, a problem and its solution in each record, in any of the
columns that data sets of this kind have.

Code is not prose to T5's vocabulary: line ends, tabs and runs of spaces become one space, so that the
indentation of Python is gone, and braces, backslash, backtick, ``<``, ``|``, ``~`` and ``^`` are unknown
to it. A model with that vocabulary can learn what a program says and not write one that runs: take
bytes, or a SentencePiece model trained with line ends and byte fallback (``flan-jax inspect mbpp
--vocabulary … --tokens`` shows what is lost). Nothing here runs a program, so an answer is measured by its
edit similarity to the solution, and not by whether it passes its tests.
"""

from flan_jax.data.file_readers.jsonl_folder import FolderSource
from flan_jax.data.sources.published import published
from flan_jax.errors import UserError
from flan_jax.tasks.catalog import register
from flan_jax.tasks.fields import column, text, texts
from flan_jax.tasks.spec import Record, TaskSpec, Template
from flan_jax.tasks.unicode_check import block

COLLECTION = CLUSTER = "program_synthesis"
FOLDER = "program_synthesis"
PROBLEM = ("problem", "text", "prompt", "question")
SOLUTION = ("solution", "code", "canonical_solution", "completion")


def code(record: Record, *names: str) -> str:
    r"""The code in the first of ``names`` that the record has, with plain line ends, its first indentation kept.

    >>> code({"completion": "\r\n    x = 1\r\n    return x\n"}, "completion")
    '    x = 1\n    return x'

    Raises:
        UserError: no such column, or what is there is no text or blank.
    """
    given = column(record, *names)
    if not isinstance(given, str):
        raise UserError(f"{names[0]!r} must be a text, not {type(given).__name__} ({given!r:.60}).")
    lines = given.replace("\r\n", "\n").split("\n")
    found = block("\n".join(line.rstrip() for line in lines))
    if not found:
        raise UserError(f"{names[0]!r} is empty.")
    return found


def _mbpp(record: Record) -> dict[str, str]:
    return {
        "problem": text(record, "text", "prompt"),
        "tests": "\n".join(texts(record, "test_list")),
        "solution": code(record, "code"),
    }


def _own(record: Record) -> dict[str, str]:
    return {"problem": text(record, *PROBLEM), "solution": code(record, *SOLUTION)}


MBPP = register(
    TaskSpec(
        name="mbpp",
        cluster=CLUSTER,
        collection=COLLECTION,
        title="MBPP",
        source=published(
            "google-research-datasets/mbpp",
            "full",
            tfds="mbpp/full",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 374, "validation": 90, "test": 500},
            folders=("mbpp",),
        ),
        fields=_mbpp,
        slots=("problem", "tests", "solution"),
        answer="solution",
        predict="generate",
        metric="edit_similarity",
        templates=(
            Template("{problem}\n\nThe Python code has to pass these tests: {tests}"),
            Template("Programming exercise: {problem}\nChecks: {tests}\nSolution in Python:"),
            Template(
                "A piece of Python code has to satisfy the assertions below.\n\n{tests}\n\n"
                "This is how the task was worded: {problem}\n\nWrite the code."
            ),
            Template("I need a bit of Python. {problem} These checks tell how I am going to call it: {tests}"),
            Template(
                "In a programming exam, students are asked the following. {problem}\n\nWhat they hand in is run "
                "against a few checks: {tests}\n\nGive an answer that passes."
            ),
            Template(
                "Implement what is described so that none of the assertions fails. Use Python 3.\n\n"
                "Description: {problem}\n\nAssertions: {tests}"
            ),
            Template(
                "How would an experienced Python programmer write this?\n\n{problem}\n\nExpected behaviour: {tests}\n\nCode:"
            ),
            Template(
                "What is the following Python code for? Put it as a task that a programmer could be set.\n\n{solution}",
                "{problem}",
                inverted=True,
            ),
            Template(
                "Task: {problem}\nAn implementation of it: {solution}\n\nAdd assertions that test the implementation.",
                "{tests}",
                inverted=True,
            ),
            Template(
                "A function that somebody wrote as an exercise passes these tests: {tests}\n\nWhat was the exercise?",
                "{problem}",
                inverted=True,
            ),
        ),
    )
)

PROGRAM_SYNTHESIS = register(
    TaskSpec(
        name="program_synthesis",
        cluster=CLUSTER,
        collection=COLLECTION,
        title="program synthesis",
        source=FolderSource(FOLDER),
        fields=_own,
        slots=("problem", "solution"),
        answer="solution",
        predict="generate",
        metric="edit_similarity",
        templates=(
            Template("{problem}\n\nCode:"),
            Template("Write a program that solves the problem below.\n\n{problem}"),
            Template("Problem: {problem}\nSource code of a solution:"),
            Template("A developer is handed this request: {problem}\n\nWhat code does the developer deliver?"),
            Template("{problem}\n\nPlease answer with working code and nothing else."),
            Template("Turn the specification into an implementation. Specification: {problem}"),
            Template("How can this be programmed?\n\n{problem}\n\nLike so:"),
            Template(
                "What you are given is the description of a program, or the beginning of one: {problem}\n\n"
                "Supply the code that is wanted."
            ),
            Template(
                "Someone wrote the code below to solve a problem. State the problem.\n\n{solution}",
                "{problem}",
                inverted=True,
            ),
            Template(
                "Code: {solution}\n\nIf this is the model answer of an exercise, how does the exercise read?",
                "{problem}",
                inverted=True,
            ),
        ),
    )
)
