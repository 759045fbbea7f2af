"""Encodes instances of Super-NaturalInstructions in the benchmark's ways (``ENCODINGS``).

The paper (Wang et al. 2022, arXiv:2204.07705) compares inputs with the definition alone, with
positive examples, with negative ones as well, and with an explanation of every example.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.tasks.spec import Record, Template

Example = tuple[str, str, str]
"""Input, output, and why; ``""`` for no explanation."""


@dataclasses.dataclass(frozen=True)
class SuperNIFields:
    """Record → slots: the definition, worked examples in four styles, the input, the references.

    Attributes:
        num_positive: worked examples shown at most; the benchmark's default is 2.
        max_characters: an example is shown only while definition, examples and input stay within
            it. An input cut at its end would lose the very question; an example is dropped instead.
        num_negative: examples of wrong outputs shown at most, behind the others.
        explanations: why an example's output is right or wrong is shown with it.
    """

    num_positive: int = 2
    max_characters: int = 3500
    num_negative: int = 0
    explanations: bool = False

    def __call__(self, record: Record) -> Mapping[str, Any]:
        """The slots of one record. An examples slot ends in a blank line, or is empty."""
        length = len(record["definition"]) + len(record["input"])
        positive, length = self._shown(record, "positive", self.num_positive, length)
        negative, _ = self._shown(record, "negative", self.num_negative, length)
        return {
            "definition": record["definition"],
            "input": record["input"],
            "answer": record["output"],
            **_in_every_style(positive, negative),
        }

    def _shown(self, record: Record, kind: str, most: int, length: int) -> tuple[tuple[Example, ...], int]:
        """As many examples of a kind as may be shown and fit, and the length with them."""
        if not most:
            return (), length
        pairs: Sequence[tuple[str, str]] = record[kind]
        reasons = record[f"{kind}_explanations"] if self.explanations else [""] * len(pairs)
        shown = []
        for (given, answer), why in zip(pairs[:most], reasons, strict=False):
            length += len(given) + len(answer) + len(why)
            if length > self.max_characters:
                break
            shown.append((given, answer, why))
        return tuple(shown), length


@dataclasses.dataclass(frozen=True)
class _Style:
    """The style of examples. Every part starts with words of its own: T5's SentencePiece makes spaces of line ends."""

    positive: str
    negative: str
    reason: str

    def __call__(self, positive: Sequence[Example], negative: Sequence[Example]) -> str:
        return "".join(
            form.format(n=n, x=given, y=answer) + (f"\n{self.reason} {why}" if why else "") + "\n\n"
            for form, examples in ((self.positive, positive), (self.negative, negative))
            for n, (given, answer, why) in enumerate(examples, start=1)
        )


_STYLES = {
    "examples": _Style(
        "Example {n}. Input: {x}\nOutput: {y}",
        "Counterexample {n}. Input: {x}\nWrong output: {y}",
        "Why:",
    ),
    "examples_qa": _Style(
        "Question: {x}\nAnswer: {y}",
        "Question: {x}\nWrong answer: {y}",
        "Because:",
    ),
    "examples_solved": _Style(
        "Solved case {n}: {x}\nSolution: {y}",
        "Case {n} gone wrong: {x}\nFaulty solution: {y}",
        "Explanation:",
    ),
    "examples_prose": _Style(
        "For instance, when given: {x}\nthe right response is: {y}",
        "On the other hand, when given: {x}\na bad response is: {y}",
        "The reason is:",
    ),
}


@functools.lru_cache(maxsize=64)  # the records of a file show the same few
def _in_every_style(positive: tuple[Example, ...], negative: tuple[Example, ...]) -> dict[str, str]:
    return {slot: style(positive, negative) for slot, style in _STYLES.items()}


ENCODINGS: Mapping[str, SuperNIFields] = {
    "def": SuperNIFields(0),
    "def_pos": SuperNIFields(2),
    "def_pos_neg": SuperNIFields(2, num_negative=2),
    "def_pos_expl": SuperNIFields(2, explanations=True),
    "def_pos_neg_expl": SuperNIFields(2, num_negative=2, explanations=True),
}
"""The paper's encodings: definition, positive and negative examples, explanations."""


SLOTS = ("definition", "input", "answer", "examples", "examples_qa", "examples_solved", "examples_prose")

TEMPLATES = (
    Template("Task definition: {definition}\n\n{examples}Your turn. Input: {input}\nOutput:"),
    Template("{definition}\n\n{examples_qa}Question: {input}\nAnswer:"),
    Template("Follow these instructions. {definition}\n\n{examples_solved}New case: {input}\nSolution:"),
    Template("What to do: {definition}\n\n{examples_prose}Now you are given: {input}\nThe right response is:"),
    Template(
        "Read the instruction and give the output for the last input. Instruction: {definition}\n\n{examples}Last input: {input}\nOutput:"
    ),
    Template("{definition}\n\n{examples_prose}Do the same for this: {input}\nResponse:"),
    Template("Here is a task. {definition}\n\n{examples_solved}Work on this one: {input}\nSolution:"),
    Template("Instructions: {definition}\n\n{examples_qa}Here is the question for you: {input}\nYour answer:"),
    Template(
        "You will get an input and have to write the output that is asked for. {definition}\n\n{examples}Input to work on: {input}\nOutput:"
    ),
    Template("Guideline: {definition}\n\n{examples_solved}Apply the guideline to the following: {input}\nResult:"),
)
