"""Math beyond Flan 2021: word problems, with and without a worked solution."""

import re
from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.errors import UserError
from flan_jax.tasks.catalog import register
from flan_jax.tasks.fields import column, text
from flan_jax.tasks.spec import Record, TaskSpec, Template
from mixtures.questions import choice_slots, place_of, sentence, texts_in_order

_LETTERED = re.compile(r"\s*([A-E])\s*\)\s*(.*)", re.DOTALL)
# How solutions end: "Answer: C", "the correct option is C.", "ANS:C) 45 rolls", "Hence C is the answer", or the
# bare letter on a line of its own.
_LEAD = r"[\s=>,;(]*(?:\b(?i:so|hence|thus|therefore)\b[,\s]*)?(?:\b(?i:the)\s+)?(?:\b(?i:correct|right)\s+)?"
_NOUN = r"\b(?i:answer|ans|option|choice)\b"
_LETTER_AT_END = re.compile(
    rf"(?:{_LEAD}{_NOUN}(?:[\s:=\-.]|\b(?i:is|must|be|option|answer|choice)\b)*\(?[A-E]\b(?:[).\s]*|\)[^\n]{{0,30}})"
    rf"|{_LEAD}(?:{_NOUN}\s*)?\(?\b[A-E]\b\)?\s+(?i:is)\b(?:\s|\b(?i:the|correct|right)\b|{_NOUN})*\.?"
    r"|\n\(?[A-E]\b[).\s]*)$"
)
# A full stop behind a choice, which few have, would come twice where the answer ends a sentence; "p.m." keeps its own.
_CHOICE_STOP = re.compile(r"(?:(?<=\w\w)|(?<=[\d$%)]))\.$")
_BARE_FRACTION = re.compile(r"(\d)\.0\b")


def _without_letter(rationale: str) -> str:
    """A worked solution without the letter of the choice at its end, which means nothing where no letters are shown.

    >>> _without_letter("7 birds leave, so 3 remain.\\nAnswer: B")
    '7 birds leave, so 3 remain.'
    """
    kept = _LETTER_AT_END.sub("", rationale).strip() or rationale
    return kept if kept.endswith((".", "!", "?")) else f"{kept}."


def _choice_text(choice: str) -> str:
    found = _LETTERED.fullmatch(choice)
    return _CHOICE_STOP.sub("", (found[2] if found else choice).strip())


def _aqua(record: Record) -> dict[str, Any] | None:
    options = texts_in_order(record, "options")
    place = place_of(record.get("correct"), "ABCDE"[: len(options)])
    choices = [_choice_text(choice) for choice in options]
    # A few lists have lost the text of a choice.
    if place is None or not all(choices):
        return None
    return {
        "question": text(record, "question"),
        "rationale": _without_letter(text(record, "rationale")),
        **choice_slots(choices, place),
    }


def _whole(number: Any) -> str:
    """A number as people write it: ``46.0`` is ``46``."""
    try:
        value = float(number)
    except (TypeError, ValueError) as error:
        raise UserError(f"'Answer' must be a number, not {number!r:.60}.") from error
    return str(int(value)) if value.is_integer() else str(value)


def _in_one(story: str, question: str) -> str:
    """The problem in one text. A story that breaks off ("If there are 3 left") runs on into its question."""
    if story.endswith((".", "!", "?")):
        return f"{story} {question}"
    return f"{story.rstrip(',')}, {question[:1].lower()}{question[1:]}"


def _by_itself(story: str) -> str:
    """The story in whole sentences, so that it can stand without its question.

    >>> _by_itself("Jon had 5 pens. If there are 3 left")
    'Jon had 5 pens. There are 3 left.'
    """
    *told, last = re.split(r"(?<=[.!?])\s+", story)
    if not last.endswith((".", "!", "?")):
        last = sentence(last.removeprefix("If "))
    return " ".join([*told, last])


def _expression(equation: str) -> str:
    """An expression as people write it.

    >>> _expression("( ( 4.0 + 13.0 ) * 15.0 )")
    '(4 + 13) * 15'
    """
    bare = _BARE_FRACTION.sub(r"\1", equation).strip()
    bare = bare.removeprefix("(").removesuffix(")").strip() if bare.startswith("(") and bare.endswith(")") else bare
    return bare.replace("( ", "(").replace(" )", ")")


def _svamp(record: Record) -> dict[str, str]:
    story, question = text(record, "Body"), text(record, "Question")
    return {
        "story": _by_itself(story),
        "question": question,
        "problem": _in_one(story, question),
        "equation": _expression(text(record, "Equation")),
        "answer": _whole(column(record, "Answer")),
    }


_REASONED = "{rationale}\nThe answer is {answer}."

AQUA = register(
    TaskSpec(
        name="aqua",
        cluster="math",
        collection="open",
        title="AQuA",
        source=published(
            "deepmind/aqua_rat",
            "raw",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 97_467, "validation": 254, "test": 254},
            folders=("aqua",),
        ),
        fields=_aqua,
        slots=("question", "choices", "rationale", "answer", "others"),
        options="choices",
        rationale="rationale",
        templates=(
            Template("Solve the problem and give the result.\n\n{question}\n\n{options}"),
            Template("{question}\n\n{options}\n\nResult:"),
            Template("Entrance examination, quantitative part.\n\nProblem: {question}\n\n{options}\n\nCorrect answer:"),
            Template("Do the sums on scratch paper and hand in only the final answer.\n\n{question}\n\n{options}"),
            Template("How would a good mathematician answer? {question}"),
            Template("Math problem: {question}\n\nWhat does it come to?"),
            Template(
                "This is from a puzzle book whose solution pages are torn out, so I cannot check what I got: {question}\n\n"
                "{options}\n\nWhat is the right result?"
            ),
            Template("Work this out without a calculator.\n\n{options}\n\nHere is the problem: {question}"),
            Template(
                "A worked solution goes like this: {rationale}\n\nWhat was the problem?", "{question}", inverted=True
            ),
            Template("{question}\n\nThe answer is {answer}. Show how to get there.", "{rationale}", inverted=True),
        ),
        cot_templates=(
            Template("Solve the problem step by step, then state the answer.\n\n{question}\n\n{options}", _REASONED),
            Template("{question}\n\n{options}\n\nReason first and answer last.", _REASONED),
            Template("Problem: {question}\n\n{options}\n\nWorking and answer:", _REASONED),
            Template("Show your work on this exam problem and finish with the result: {question}", _REASONED),
            Template("Let us think before we commit ourselves. {question}\n\n{options}", _REASONED),
            Template(
                "You are a tutor. Explain to your student how this is solved and what comes out.\n\n{question}\n\n{options}",
                _REASONED,
            ),
            Template(
                "Write out the calculation that leads to the answer.\n\nQuestion: {question}\n\n{options}\n\nCalculation:",
                _REASONED,
            ),
            Template("{question} Please give me the whole derivation and not just the bare result.", _REASONED),
            Template(
                "Quantitative reasoning. A solution consists of an explanation and, after it, the sentence that begins "
                "with “The answer is”.\n\n{options}\n\nTo be solved: {question}",
                _REASONED,
            ),
            Template(
                "My pupils are going to ask why. Solve this in such a way that they can follow: {question}\n\n{options}",
                _REASONED,
            ),
        ),
    )
)

SVAMP = register(
    TaskSpec(
        name="svamp",
        cluster="math",
        collection="open",
        title="SVAMP",
        source=published(
            "ChilleD/SVAMP",
            train="train[:-100]",
            validation="train[-100:]",
            test="test",
            sizes={"train": 700, "test": 300},
            folders=("svamp",),
        ),
        fields=_svamp,
        slots=("story", "question", "problem", "equation", "answer"),
        predict="generate",
        templates=(
            Template("Solve this word problem and give the number only.\n\n{problem}"),
            Template("{problem}\n\nAnswer with a number."),
            Template("Elementary arithmetic: {problem}\nResult:"),
            Template(
                "Not every number in a story matters. Find the ones that do and use them to work out the answer: {problem}"
            ),
            Template("My son brought this home from school and wants it checked. {problem} What is the right number?"),
            Template("Story: {story}\nQuestion: {question}\nNumber:"),
            Template("{question} You can work it out from what is known: {story}"),
            Template("Here is a small puzzle for you that takes a step or two of mental arithmetic.\n\n{problem}"),
            Template(
                "Which calculation solves this problem? Write it as an expression without working it out.\n\n{problem}",
                "{equation}",
                inverted=True,
            ),
            Template(
                "Invent a short story problem for children that is solved by computing {equation} and therefore has the "
                "result {answer}.",
                "{problem}",
                inverted=True,
            ),
        ),
    )
)
