"""Reads MMLU's files: ``test/SUBJECT_test.csv`` and ``dev/SUBJECT_dev.csv``, as published or as the hub's copies have them.

The published files have no first line of names, and answer with a letter. Copies made from the hub name their columns
``question,choice0,choice1,choice2,choice3,answer``, and answer with 0 to 3. Either is told by its first line.
"""

from pathlib import Path
from typing import NamedTuple

from flan_jax.data.benchmarks.mmlu_subjects import CATEGORIES
from flan_jax.data.benchmarks.published_files import read_rows
from flan_jax.errors import UserError, unknown

LETTERS = ("A", "B", "C", "D")
NAMED = ("question", "choice0", "choice1", "choice2", "choice3", "answer")
_WHAT = "a question, four choices and the answer, A to D, in each row"
_SUFFIX = "_test.csv"


class ChoiceQuestion(NamedTuple):
    """A row of a file.

    Attributes:
        question: its words.
        choices: four.
        answer: index of the right one.
    """

    question: str
    choices: tuple[str, ...]
    answer: int


def subjects(folder: Path) -> dict[str, str]:
    """Lists the subjects that a folder has a test of: name → category.

    Raises:
        UserError: none, or one that MMLU does not have.
    """
    names = sorted(path.name.removesuffix(_SUFFIX) for path in (folder / "test").glob(f"*{_SUFFIX}"))
    if not names:
        raise UserError(f"{str(folder / 'test')!r} has no file SUBJECT{_SUFFIX}. Put the published files there.")
    for name in names:
        if name not in CATEGORIES:
            raise unknown("subject of MMLU", name, CATEGORIES, remedy=f"Rename {name}{_SUFFIX} or move it away.")
    return {name: CATEGORIES[name] for name in names}


def read_subject(folder: Path, split: str, subject: str) -> list[ChoiceQuestion]:
    """Reads one file.

    Args:
        folder: with the folders ``dev`` and ``test``.
        split: ``dev`` or ``test``.
        subject: its name.

    Raises:
        UserError: it is missing or empty, a row has other columns, or an answer is none of the four.
    """
    path = folder / split / f"{subject}_{split}.csv"
    rows = list(read_rows(path, _WHAT))
    named = tuple(cell.strip().lower() for cell in rows[0][1]) == NAMED
    if not named and rows[0][1] and rows[0][1][-1].strip().lower() in (NAMED[-1], "label", "target"):
        raise UserError(
            f"{path}, line 1: the columns are {', '.join(rows[0][1])}, but they should be {', '.join(NAMED)}, or the file "
            "has no names and begins with a question. Rename them."
        )
    found = [_question(cells, f"{path}, line {line}", named=named) for line, cells in rows[named:]]
    if not found:
        raise UserError(f"{str(path)!r} has names of columns and no row, but it should hold {_WHAT}. Fetch it again.")
    return found


def _question(cells: list[str], place: str, *, named: bool) -> ChoiceQuestion:
    if len(cells) != len(NAMED):
        raise UserError(f"{place}: {len(cells)} column(s) instead of {len(NAMED)}; expected {_WHAT}.")
    question, *choices, answer = cells
    known = {letter: index for index, letter in enumerate(LETTERS)}
    if named:
        known |= {str(index): index for index in range(len(LETTERS))}
    if answer.strip() not in known:
        allowed = "A, B, C or D" + (", or 0 to 3" if named else "")
        raise UserError(f"{place}: the answer is {answer!r:.40}, but it must be {allowed}. Correct the row.")
    return ChoiceQuestion(question, tuple(choices), known[answer.strip()])
