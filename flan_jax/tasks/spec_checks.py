"""Checks of a ``TaskSpec``'s options and templates, run when a task is built."""

from collections.abc import Sequence
from typing import Any, Protocol

from flan_jax.errors import UserError, did_you_mean
from flan_jax.tasks.template import ANSWER_SLOT, OPTIONS_SLOT, Template, VerbatimTemplate, slots_of


class Slotted(Protocol):
    """The fields of a ``TaskSpec`` that its templates are checked against."""

    @property
    def slots(self) -> tuple[str, ...]:
        """The slot names that its fields give."""

    @property
    def answer(self) -> str:
        """The slot that holds the answer."""

    @property
    def options(self) -> tuple[str, ...] | str:
        """The closed set of answers, the slot that holds it, or ``()``."""

    @property
    def rationale(self) -> str:
        """The slot that holds the reasoning, or ``""``."""


def check_options(where: str, options: Sequence[str]) -> None:
    """Refuses a closed set of answers that is none.

    Args:
        where: begins the error.
        options: the answers.

    Raises:
        UserError: fewer than two, one twice, or one that is no text.
    """
    if len(options) < 2:
        raise UserError(f"{where} has {len(options)} option(s). A closed set needs at least two.")
    if len(set(options)) < len(options):
        raise UserError(f"{where} lists an option twice: {list(options)}.")
    for option in options:
        if not isinstance(option, str) or not option.strip():
            raise UserError(f"{where} has the option {option!r}. An option is a string that is not empty.")


def check_templates(where: str, spec: Slotted, templates: Sequence[Any], *, reasons: bool = False) -> None:
    """Refuses templates that cannot be filled, say the same twice, show the answer, or ask for something else.

    Args:
        where: begins the error.
        spec: the task that they belong to.
        templates: templates with slots.
        reasons: their target is to reason first and end with the answer.

    Raises:
        UserError: names the template, what is wrong and the remedy.
    """
    for index, template in enumerate(templates):
        if not isinstance(template, Template):
            raise UserError(f"{where}, template {index} is a {type(template).__name__}. Use one kind for all.")
        _check_template(f"{where}, template {index}", spec, template, reasons)
    # Published sets repeat some of theirs, which are then drawn more often.
    texts = [(one.inputs, one.targets) for one in templates if not isinstance(one, VerbatimTemplate)]
    if len(set(texts)) < len(texts):
        twice = next(index for index, text in enumerate(texts) if text in texts[:index])
        raise UserError(
            f"{where}: template {twice} repeats template {texts.index(texts[twice])}. Change or remove one."
        )


def _check_template(where: str, spec: Slotted, template: Template, reasons: bool) -> None:
    known = set(spec.slots) | {ANSWER_SLOT} | ({OPTIONS_SLOT} if spec.options else set())
    asks = (template.asks,) if isinstance(template, VerbatimTemplate) and template.asks else ()
    for slot in (*template.slots, *asks):
        if slot not in known:
            raise UserError(
                f"{where} uses the unknown slot {{{slot}}}.{did_you_mean(slot, known)} Slots of this task: {', '.join(sorted(known))}."
            )
    # A text may be asked for without a word about it: one that is in French, a question for a school book.
    if not slots_of(template.inputs) and not template.inverted:
        raise UserError(f"{where} renders the same input for every record: {template.inputs!r}. Use at least one slot.")
    if not slots_of(template.targets):
        raise UserError(
            f"{where} renders the same target for every record: {template.targets!r}. Use at least one slot, {{answer}} as a rule."
        )
    if template.inverted:
        return
    if reasons:
        wanted = (spec.rationale, ANSWER_SLOT)
        if slots_of(template.targets) != wanted or not template.targets.rstrip(" .!\"”'").endswith("{answer}"):
            raise UserError(
                f"{where} has the target {template.targets!r}. Reason first and end with the answer: "
                f"'{{{spec.rationale}}} … {{answer}}'."
            )
        if {ANSWER_SLOT, spec.answer, spec.rationale} & set(slots_of(template.inputs)):
            raise UserError(f"{where} shows the answer or its reasoning in its input. Remove the slot.")
        return
    # A scored answer must be the answer itself: options and references are compared with it.
    asked, alone = {spec.answer, ANSWER_SLOT}, template.targets.strip().startswith("{")
    if isinstance(template, VerbatimTemplate):
        # Its references have the words that stand around the answer; "answer" may be a slot like any other.
        asked = {template.asks or spec.answer, *({ANSWER_SLOT} - set(spec.slots))}
        alone = alone or not spec.options
    if slots_of(template.targets) not in {(slot,) for slot in asked} or not alone:
        raise UserError(
            f"{where} has the target {template.targets!r}. Use '{{answer}}', or mark the template inverted=True."
        )
    if asked & set(slots_of(template.inputs)):
        raise UserError(f"{where} shows the answer in its input. Mark it inverted=True or remove the slot.")
