"""Splits a prompt of solved questions, ``Q: …`` and ``A: …`` with blank lines between them, into its parts.

So are the chain-of-thought prompts of BIG-Bench Hard, FLAN's for MMLU, and those of Wei et al. (2022) written down.
"""

import re
from typing import NamedTuple

from flan_jax.errors import UserError

_QUESTION = re.compile(r"(?:^|\n\n)(?=Q: ?)")
_ANSWER = "\nA:"


class Solved(NamedTuple):
    """A solved question.

    Attributes:
        question: behind ``Q:``, stripped.
        answer: behind ``A:``, stripped.
    """

    question: str
    answer: str


def split_solved(text: str, place: str) -> tuple[str, list[Solved]]:
    """Splits a prompt into what stands before the first question, and its solved questions.

    Args:
        text: the prompt.
        place: the file, for messages.

    Raises:
        UserError: there is no question, or one without an answer.

    >>> split_solved("Add.\\n\\nQ: 1+1?\\nA: It is 2.\\n\\nQ: 2+2?\\nA: It is 4.", "p.txt")
    ('Add.', [Solved(question='1+1?', answer='It is 2.'), Solved(question='2+2?', answer='It is 4.')])
    """
    first, *blocks = _QUESTION.split(text.replace("\r\n", "\n"))
    if not blocks:
        raise UserError(
            f"{place}: no solved question. Write each as 'Q: …' and 'A: …' in a line of its own, a blank line between two."
        )
    solved = []
    for number, block in enumerate(blocks, start=1):
        question, mark, answer = block.removeprefix("Q:").partition(_ANSWER)
        if not mark or not question.strip() or not answer.strip():
            raise UserError(
                f"{place}: solved question {number} has no {'answer' if question.strip() else 'words'}. Write 'Q: …' and 'A: …'."
            )
        solved.append(Solved(question.strip(), answer.strip()))
    return first.strip(), solved
