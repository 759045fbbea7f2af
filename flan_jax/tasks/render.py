"""Text from a record: ``render(task, record, index, seed)``.

Nothing here draws from a global generator: the template of example *i* is a hash of
(seed, task, i), so it is the same on every machine, in any order, in every process.
"""

import functools
import hashlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.tasks.spec import (
    ANSWER_SLOT,
    OPTIONS_SLOT,
    Prompted,
    PromptMode,
    Record,
    Rendered,
    Source,
    TaskSpec,
    Unreadable,
    slots_of,
)

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
    return drawn[_as_integer(_template_hash(seed, task.spec.name), index) % len(drawn)]


@functools.lru_cache(maxsize=64)
def _template_hash(seed: int, name: str) -> "hashlib.blake2b":
    """``counter_hash("template", seed, name, index)`` up to the index, which alone differs among records."""
    return hashlib.blake2b(f"template\x1f{seed}\x1f{name}\x1f".encode(), digest_size=8)


def _as_integer(begun: "hashlib.blake2b", last: object) -> int:
    whole = begun.copy()
    whole.update(str(last).encode())
    return int.from_bytes(whole.digest(), "little")


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
    try:
        return _render(task, record, index, seed, template_id)
    except UserError as error:
        raise UserError(f"Task {task.spec.name!r}, record {index}: {error}") from error


def _render(task: Prompted, record: Record, index: int, seed: int, template_id: int | None) -> Rendered:
    spec = task.spec
    slots = _slots(spec, record)
    references = _references(slots[spec.answer])
    options = _options(spec, slots)
    if options and not all(reference in options for reference in references):
        stray = next(reference for reference in references if reference not in options)
        raise UserError(
            f"the answer {stray!r} is not one of its options {list(options)}. Correct the record, `fields` or `options`."
        )
    if template_id is None:
        template_id = choose_template(task, index=index, seed=seed)
    template = spec.templates[template_id]
    text: dict[str, str] = {name: value for name, value in slots.items() if isinstance(value, str)}
    text[ANSWER_SLOT] = text[spec.answer] = references[0]
    shown = task.mode is PromptMode.ZS_OPT and not template.inverted
    text[OPTIONS_SLOT] = options_block(options) if shown else ""
    inputs = template.inputs
    # A template need not place the block itself; it then stands at the end.
    if options and not template.inverted and OPTIONS_SLOT not in slots_of(inputs):
        inputs += "\n\n{options}"
    rendered_inputs = _fill(inputs, text)
    targets = _fill(template.targets, text)
    if not rendered_inputs or not targets:
        side = "input" if not rendered_inputs else "target"
        raise UserError(
            f"template {template_id} renders an empty {side}. Filter such records out or correct the template."
        )
    if template.inverted:
        options, references = (), (targets,)
    return Rendered(rendered_inputs, targets, options, references, index, template_id)


def render_split(
    task: Prompted, split: str, *, seed: int = 0, unreadable: Unreadable | None = None
) -> Iterator[Rendered]:
    """Renders every record of ``split`` in the source's order.

    Args:
        task: the spec with its prompt mode and templates.
        split: the split.
        seed: changes which example gets which template.
        unreadable: called with the error of each record that cannot be read or rendered, which
            is then left out; the others keep their index, and with it their template. Without it
            the error is raised.

    Raises:
        UserError: a record that cannot be read or rendered, named by its place in the source
            where the source knows it.
    """
    source = task.spec.source
    index = 0

    def leave_out(error: UserError) -> None:
        nonlocal index
        index += 1
        if unreadable is not None:
            unreadable(error)

    for record in _records(source, split, leave_out if unreadable is not None else None):
        try:
            yield render(task, record, index=index, seed=seed)
        except UserError as error:
            place = getattr(source, "place", None)
            located = UserError(f"{place(split, index)}: {error}") if place else error
            if unreadable is None:
                raise located from error
            unreadable(located)
        index += 1


def _records(source: Source, split: str, unreadable: Unreadable | None) -> Iterator[Record]:
    """The source's records; one that cannot tell its bad records from its good ones raises as ever."""
    if unreadable is None or "unreadable" not in inspect.signature(source.records).parameters:
        return source.records(split)
    return source.records(split, unreadable)


def _slots(spec: TaskSpec, record: Record) -> dict[str, Any]:
    try:
        slots = dict(spec.fields(record))
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        keys = f" with the keys {sorted(map(str, record))}" if isinstance(record, Mapping) else f" {record!r:.80}"
        raise UserError(
            f"its fields failed on the record{keys} ({type(error).__name__}: {error}). Correct the record or `fields`."
        ) from error
    for slot in spec.slots:
        if slot not in slots:
            raise UserError(f"its fields gave no {slot!r} (they gave {sorted(slots)}). Correct `fields` or `slots`.")
    return slots


def _references(answer: Any) -> tuple[str, ...]:
    if isinstance(answer, str):
        return (answer.strip(),)
    references = tuple(answer) if isinstance(answer, Iterable) else ()
    if not references or not all(isinstance(reference, str) for reference in references):
        raise UserError(f"the answer {answer!r} is neither a string nor a non-empty sequence of strings.")
    return tuple(reference.strip() for reference in references)


def _options(spec: TaskSpec, slots: dict[str, Any]) -> tuple[str, ...]:
    if not isinstance(spec.options, str):
        return spec.options
    given = slots[spec.options]
    options = tuple(given) if isinstance(given, Iterable) else ()
    if len(options) < 2 or len(set(options)) < len(options):
        raise UserError(f"options {list(options) or given!r} must be at least two different strings.")
    return options


def _fill(text: str, slots: dict[str, str]) -> str:
    try:
        filled = text.format_map(slots)
    except KeyError as error:
        raise UserError(f"slot {{{error.args[0]}}} is not text, so no template can show it.") from error
    # An options slot left empty leaves its white space behind; the record's own is kept.
    if not slots[OPTIONS_SLOT] and OPTIONS_SLOT in slots_of(text):
        filled = re.sub(r"\n{3,}", "\n\n", filled)
    return filled.strip()
