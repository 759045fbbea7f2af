"""Prompt styles: how options are listed, and how solved examples stand before the question.

FLAN 2021 has one style. FLAN 2022 draws one for every example. What is drawn must survive the
vocabulary: T5's SentencePiece drops line ends, so a separator of line ends alone would vanish.
"""

import dataclasses
import string
from collections.abc import Sequence
from typing import Literal

from flan_jax.errors import UserError

Numbering = Literal["", "A", "a", "1"]
_LETTERS = {"A": string.ascii_uppercase, "a": string.ascii_lowercase}


@dataclasses.dataclass(frozen=True, slots=True)
class OptionStyle:
    """The style in which a closed set is listed.

    Attributes:
        header: stands before the options.
        bullet: stands before each; ``{n}`` is its letter or number.
        numbering: what ``{n}`` counts with; with it, the marker becomes the answer.
        separator: stands between two options.
        ending: stands behind the last.
    """

    header: str = "OPTIONS:\n"
    bullet: str = "- "
    numbering: Numbering = ""
    separator: str = "\n"
    ending: str = ""

    def fits(self, options: Sequence[str]) -> bool:
        """Tells whether there are letters enough, and no option that reads as another's marker."""
        if not self.numbering:
            return True
        if self.numbering != "1" and len(options) > len(string.ascii_uppercase):
            return False
        return not set(self.markers(len(options))) & set(options)

    def markers(self, count: int) -> tuple[str, ...]:
        """Returns the answers that stand for the options, such as ``(A)``; ``()`` where the options do so themselves.

        >>> OptionStyle(bullet="({n}) ", numbering="A").markers(2)
        ('(A)', '(B)')
        """
        return tuple(self._bullet(index).strip() for index in range(count)) if self.numbering else ()

    def block(self, options: Sequence[str]) -> str:
        """Formats the options as text.

        >>> OptionStyle().block(["yes", "no"])
        'OPTIONS:\\n- yes\\n- no'
        """
        listed = self.separator.join(self._bullet(index) + option for index, option in enumerate(options))
        return self.header + listed + self.ending

    def _bullet(self, index: int) -> str:
        if not self.numbering:
            return self.bullet
        shown = str(index + 1) if self.numbering == "1" else _LETTERS[self.numbering][index]
        return self.bullet.format(n=shown)


@dataclasses.dataclass(frozen=True, slots=True)
class ExemplarStyle:
    """The style in which solved examples are set: ``input DELIMITER target SEPARATOR input DELIMITER …``.

    Attributes:
        before_input: stands before every input.
        before_target: stands before every target, and at the end of the prompt.
        delimiter: between an input and its target.
        separator: between two examples.
        suffix: the end of the prompt.
    """

    before_input: str = ""
    before_target: str = ""
    delimiter: str = "\n\n"
    separator: str = "\n\n\n"
    suffix: str = ""

    @property
    def survives_lost_newlines(self) -> bool:
        """True where input, target and next input stay apart where line ends are dropped."""
        return bool((self.delimiter + self.before_target).strip() and (self.separator + self.before_input).strip())

    def prompt(self, solved: Sequence[tuple[str, str]], query: str) -> str:
        """Joins solved examples and the query into a prompt.

        >>> ExemplarStyle("Q: ", "A: ", "\\n", "\\n\\n").prompt([("2+2?", "4")], "1+2?")
        'Q: 2+2?\\nA: 4\\n\\nQ: 1+2?\\nA:'
        """
        parts = [f"{self.before_input}{x}{self.delimiter}{self.before_target}{y}" for x, y in solved]
        last = f"{self.before_input}{query}{self.delimiter}{self.before_target}".rstrip()
        return self.separator.join([*parts, last]) + self.suffix


@dataclasses.dataclass(frozen=True, slots=True)
class PromptStyle:
    """The ways of listing options and setting examples that a collection draws from.

    Attributes:
        name: what it is called.
        options: one is drawn an example.
        exemplars: one is drawn an example; at least one survives lost line ends.
    """

    name: str
    options: tuple[OptionStyle, ...]
    exemplars: tuple[ExemplarStyle, ...]

    def __post_init__(self) -> None:
        if not self.options or not any(style.survives_lost_newlines for style in self.exemplars):
            raise UserError(
                f"Prompt style {self.name!r} needs a way to list options, and one to set examples that stays "
                "readable where a vocabulary drops line ends."
            )

    def exemplar_styles(self, newlines: bool) -> tuple[ExemplarStyle, ...]:
        """Returns the styles that stay readable; all of them where the vocabulary keeps line ends."""
        return tuple(style for style in self.exemplars if newlines or style.survives_lost_newlines)


@dataclasses.dataclass(frozen=True, slots=True)
class FewShot:
    """The number of solved examples of the training split that come first, and their templates.

    Attributes:
        shots: at most so many.
        templates: ``same`` sets them with the query's template, ``mixed`` each with one of its
            own, ``matching`` draws ``shots`` with templates of their own and keeps those that
            happen to have the query's, as FLAN 2022 does for a part of its data.
        budget: tokens that the prompt may have, the end of sequence counted; ``None`` for 15/16 of
            the input length, which is FLAN's 960 of 1,024 and 1,920 of 2,048. The longest row of
            examples that fits is kept.
    """

    shots: int = 5
    templates: Literal["same", "mixed", "matching"] = "same"
    budget: int | None = None

    def __post_init__(self) -> None:
        if self.shots < 1 or self.templates not in ("same", "mixed", "matching"):
            raise UserError(
                f"FewShot(shots={self.shots}, templates={self.templates!r}): at least one shot, and templates that are "
                "'same', 'mixed' or 'matching'."
            )
        if self.budget is not None and self.budget < 1:
            raise UserError(
                f"FewShot(budget={self.budget}): a prompt needs at least one token. None is 15/16 of the input."
            )


FLAN_2021 = PromptStyle(
    "flan2021",
    (OptionStyle(),),
    (ExemplarStyle(before_input="0 ", before_target="1 ", delimiter=" X ", separator=" X ", suffix=" FLAN"),),
)
"""One style: ``OPTIONS:`` with dashes, and examples as ``0 x X 1 y X 0 x X 1 FLAN``."""

_HEADERS = ("OPTIONS:\n", "Options:\n", "Possible answers:\n", "The answer is one of these:\n", "Choose from:\n")
_BULLETS: tuple[tuple[str, Numbering], ...] = (
    ("- ", ""),
    ("* ", ""),
    ("+ ", ""),
    ("({n}) ", "A"),
    ("({n}) ", "a"),
    ("{n}. ", "A"),
    ("{n}) ", "1"),
    ("[{n}] ", "A"),
)
_SEPARATORS = ("\n", ";\n")

FLAN_2022 = PromptStyle(
    "flan2022",
    tuple(
        OptionStyle(header, bullet, numbering, separator, "." if separator.startswith(";") else "")
        for header in _HEADERS
        for bullet, numbering in _BULLETS
        for separator in _SEPARATORS
    ),
    (
        ExemplarStyle(),
        ExemplarStyle(delimiter="\n", separator="\n\n"),
        ExemplarStyle("Question: ", "Answer: ", "\n", "\n\n"),
        ExemplarStyle("Q: ", "A: ", "\n", "\n\n\n"),
        ExemplarStyle("Input: ", "Output: ", "\n\n", "\n\n\n"),
        ExemplarStyle("Problem: ", "Solution: ", "\n", "\n\n"),
        ExemplarStyle("", "Answer: ", "\n", "\n###\n"),
        ExemplarStyle("", "=> ", "\n", "\n---\n"),
    ),
)
"""A header, bullet and ending drawn for every example; where bullets count, the marker is the answer."""
