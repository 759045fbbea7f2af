"""Renders published templates byte for byte as their authors' code does.

That code joins a template's text and its slots and changes nothing else: white space stays where it
is, a block of options stands where ``{options}`` is and nowhere else, and options that read the same
are all listed.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.tasks.rendering.fewshot import Slots
from flan_jax.tasks.rendering.fill import PromptAndTarget, list_options
from flan_jax.tasks.rendering.slots import accepted_answers
from flan_jax.tasks.spec import TaskSpec
from flan_jax.tasks.style import OptionStyle
from flan_jax.tasks.template import ANSWER_SLOT, OPTIONS_SLOT, Rendering, Template, VerbatimTemplate, slots_of

# What goes with an options slot where options are not to be shown: FLAN takes away the line ends before it.
_WITH_LINE_ENDS = re.compile(r"\n{0,2}\{options\}")

NO_COLUMN = "this copy of the data set has no such column"


def can_fill(template: Template | Rendering, slots: Slots) -> bool:
    """Tells whether the record has every slot of a published template; some published copies lack a column."""
    return not _lacking(template, slots)


def _lacking(template: Template | Rendering, slots: Slots) -> tuple[str, ...]:
    if not isinstance(template, VerbatimTemplate):
        return ()
    return tuple(slot for slot in (*template.slots, template.asks) if slots.get(slot, "") is None)


def no_fillable_template(templates: Sequence[Template | Rendering], slots: Slots) -> UserError:
    """Returns the error of a record that lacks a slot of every one of these published templates."""
    lacking = sorted({slot for template in templates for slot in _lacking(template, slots)})
    shown = " or ".join(f"{{{slot}}}" for slot in lacking)
    return UserError(
        f"each of its templates shows {shown}, and {NO_COLUMN}. Name a copy that has it with SOURCE_DIR, or take the "
        "task out of the template set, so that it keeps its own templates."
    )


def render_verbatim(
    spec: TaskSpec,
    template: VerbatimTemplate,
    slots: Slots,
    style: OptionStyle,
    *,
    shows_options: bool,
    places: Sequence[int] = (),
    mark: Callable[[str, str], str] | None = None,
) -> PromptAndTarget:
    """Renders a record with a published template.

    Args:
        spec: the task, with the published fields in the place of its own.
        template: one of its templates.
        slots: what these fields made of the record.
        style: how options are listed.
        shows_options: whether the prompt mode lists them.
        places: of each place of the listing, the index of the option that stands there; ``()`` for the published order.
        mark: puts marks around slots and options of the input.

    Raises:
        UserError: the answer is none of the options, or a slot that the record has not.
    """
    references = accepted_answers(slots[template.asks or spec.answer])
    every = _options(spec, slots)
    options = tuple(dict.fromkeys(every))
    if options and not set(references) <= set(options):
        stray = next(reference for reference in references if reference not in options)
        raise UserError(
            f"the answer {stray!r:.80} is not one of its options {list(options)!s:.300}. Correct the record."
        )
    text = {name: value for name, value in slots.items() if isinstance(value, str)}
    block, listed, published = "", 0, tuple[int, ...]()
    if every and shows_options and OPTIONS_SLOT in template.slots:
        block, options, references, published = list_options(style, every, references, places)
        listed = 0 if template.inverted else len(every)
    asked = template.asks or spec.answer
    text[spec.answer] = accepted_answers(slots[spec.answer])[0]  # of several accepted ones
    text[asked] = references[0]
    if ANSWER_SLOT not in spec.slots:
        text[ANSWER_SLOT] = text[spec.answer]
    targets = _filled(template.targets, text, block)
    if template.inverted:
        options, references = (), (targets,)
    elif not options and len(slots_of(template.targets)) == 1:
        # What is compared with the target has the words that stand around it.
        references = tuple(_filled(template.targets, {**text, asked: one}, "") for one in references)
    if mark is not None:
        text = {name: mark(name, value) for name, value in text.items()}
    inputs = _filled(template.inputs, text, mark(OPTIONS_SLOT, block) if mark is not None and block else block)
    return PromptAndTarget(inputs, targets, options, references, listed, published)


def _options(spec: TaskSpec, slots: Slots) -> tuple[str, ...]:
    """Returns the options in the published order, duplicates included."""
    given = slots[spec.options] if isinstance(spec.options, str) and spec.options else spec.options
    if not isinstance(given, (tuple, list)) or not all(isinstance(option, str) for option in given):
        raise UserError(f"options {given!r:.300} must be a list of texts. Correct the record.")
    return tuple(given)


def _filled(text: str, slots: Mapping[str, Any], block: str) -> str:
    if not block and OPTIONS_SLOT in slots_of(text):
        text = _WITH_LINE_ENDS.sub("", text)
    try:
        return text.format_map({**slots, OPTIONS_SLOT: block})
    except KeyError as error:
        raise UserError(f"the template shows {{{error.args[0]}}}, and {NO_COLUMN}. Choose another template.") from error
