"""Text from a record: ``render(task, record, index, seed)``.

Nothing here draws from a global generator: the template of example *i* is a hash of
(seed, task, i), so it is the same on every machine, in any order, in every process.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.tasks.spec import ANSWER_SLOT, OPTIONS_SLOT, Prompted, PromptMode, Record, Rendered, TaskSpec, slots_of

OPTIONS_HEADER = "OPTIONS:"
OPTIONS_BULLET = "\n- "


def counter_hash(*parts: object) -> int:
    """A 64-bit integer from the printed parts: the counter-based source of every random choice.

    >>> counter_hash(0, "rte", 7) == counter_hash(0, "rte", 7)
    True
    """
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def options_block(options: Sequence[str]) -> str:
    """FLAN's options block.

    >>> options_block(["yes", "no"])
    'OPTIONS:\\n- yes\\n- no'
    """
    return OPTIONS_HEADER + "".join(OPTIONS_BULLET + option for option in options)


def choose_template(task: Prompted, *, index: int, seed: int) -> int:
    """The template of example ``index``: a pure function of (seed, task name, index)."""
    drawn = task.drawn_templates
    return drawn[counter_hash("template", seed, task.spec.name, index) % len(drawn)]


def render(task: Prompted, record: Record, *, index: int, seed: int = 0, template_id: int | None = None) -> Rendered:
    """Renders one record.

    Args:
        task: the spec with its prompt mode and templates.
        record: as the source yields it.
        index: the record's position in its split.
        seed: changes which example gets which template.
        template_id: overrides the choice of template.

    Raises:
        UserError: a missing slot, an answer outside the options, an empty side.
    """
    spec = task.spec
    where = f"Task {spec.name!r}, record {index}"
    slots = dict(spec.fields(record))
    missing = [slot for slot in spec.slots if slot not in slots]
    if missing:
        raise UserError(
            f"{where}: its fields gave no {missing[0]!r} (they gave {sorted(slots)}). Correct `fields` or `slots`."
        )
    references = _references(where, slots[spec.answer])
    options = _options(where, spec, slots)
    if options and not set(references) <= set(options):
        stray = next(reference for reference in references if reference not in options)
        raise UserError(
            f"{where}: the answer {stray!r} is not one of its options {list(options)}. Correct the record, `fields` or `options`."
        )
    if template_id is None:
        template_id = choose_template(task, index=index, seed=seed)
    template = spec.templates[template_id]
    text: dict[str, str] = {name: value for name, value in slots.items() if isinstance(value, str)}
    text[ANSWER_SLOT] = text[spec.answer] = references[0]
    text[OPTIONS_SLOT] = options_block(options) if task.mode is PromptMode.ZS_OPT else ""
    inputs = template.inputs
    # A template need not place the block itself; it then stands at the end.
    if options and not template.inverted and OPTIONS_SLOT not in slots_of(inputs):
        inputs += "\n\n{options}"
    if template.inverted:
        text[OPTIONS_SLOT] = ""
    rendered_inputs = _fill(where, inputs, text)
    targets = _fill(where, template.targets, text)
    if not rendered_inputs or not targets:
        side = "input" if not rendered_inputs else "target"
        raise UserError(
            f"{where}: template {template_id} renders an empty {side}. Filter such records out or correct the template."
        )
    if template.inverted:
        options, references = (), (targets,)
    return Rendered(rendered_inputs, targets, options, references, index, template_id)


def render_split(task: Prompted, split: str, *, seed: int = 0) -> Iterator[Rendered]:
    """Renders every record of ``split`` in the source's order."""
    for index, record in enumerate(task.spec.source.records(split)):
        yield render(task, record, index=index, seed=seed)


def _references(where: str, answer: Any) -> tuple[str, ...]:
    references = (answer,) if isinstance(answer, str) else tuple(answer)
    if not references or not all(isinstance(reference, str) for reference in references):
        raise UserError(f"{where}: the answer {answer!r} is neither a string nor a non-empty sequence of strings.")
    return tuple(reference.strip() for reference in references)


def _options(where: str, spec: TaskSpec, slots: dict[str, Any]) -> tuple[str, ...]:
    if not isinstance(spec.options, str):
        return spec.options
    options = tuple(slots[spec.options])
    if len(options) < 2 or len(set(options)) < len(options):
        raise UserError(f"{where}: options {list(options)} must be at least two different strings.")
    return options


def _fill(where: str, text: str, slots: dict[str, str]) -> str:
    try:
        filled = text.format_map(slots)
    except KeyError as error:
        raise UserError(f"{where}: slot {{{error.args[0]}}} is not text, so no template can show it.") from error
    # An options slot left empty leaves its white space behind; the record's own is kept.
    if OPTIONS_SLOT in slots_of(text) and not slots[OPTIONS_SLOT]:
        filled = re.sub(r"\n{3,}", "\n\n", filled)
    return filled.strip()
