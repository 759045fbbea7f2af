"""The slots, accepted answers and options that a task reads of a record."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.tasks.rendering.fewshot import Slots
from flan_jax.tasks.spec import GROUP, Record, TaskSpec
from flan_jax.tasks.unicode_check import block

_FAILURES = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


def read_slots(spec: TaskSpec, record: Record) -> Slots | None:
    """Turns a record into slots with ``spec.fields``; ``None`` where the record is no example of the task.

    Raises:
        UserError: the fields fail on it, or a declared slot is missing.
    """
    try:
        made = spec.fields(record)
        if made is None:
            return None
        slots = dict(made)
    except UserError:
        raise
    except _FAILURES as error:
        raise _failed("fields", record, error) from error
    if spec.renders_itself:
        return slots
    for slot in spec.slots:
        if slot not in slots:
            raise UserError(f"its fields gave no {slot!r} (they gave {sorted(slots)}). Correct `fields` or `slots`.")
    # No others: a number that every record has to itself would make equal records look different.
    return {slot: slots[slot] for slot in spec.slots}


def read_extras(spec: TaskSpec, record: Record) -> dict[str, str]:
    """Reads the texts of a record that are kept beside its tokens.

    Raises:
        UserError: one of the functions fails on it or gives no text, or a group without a name.
    """
    made = {}
    for name, function in spec.extras.items():
        try:
            value = function(record)
        except UserError:
            raise
        except _FAILURES as error:
            raise _failed(name, record, error) from error
        if not isinstance(value, str) or (name == GROUP and not value):
            raise UserError(f"its {name} {value!r:.80} is no text that names one. Correct the record or `{name}`.")
        made[name] = value
    return made


def _failed(what: str, record: Record, error: Exception) -> UserError:
    keys = f" with the keys {sorted(map(str, record))}" if isinstance(record, Mapping) else f" {record!r:.80}"
    return UserError(
        f"its {what} failed on the record{keys} ({type(error).__name__}: {error}). Correct the record or `{what}`."
    )


def accepted_answers(answer: Any) -> tuple[str, ...]:
    """Returns the accepted answers byte for byte, the first of which is the target.

    Raises:
        UserError: neither a text nor a sequence of texts.
    """
    if isinstance(answer, str):
        return (answer,)
    answers = tuple(answer) if isinstance(answer, Iterable) else ()
    if not answers or not all(isinstance(one, str) for one in answers):
        raise UserError(f"the answer {answer!r:.80} is neither a string nor a non-empty sequence of strings.")
    return answers


def accepted_references(answer: Any, options: Sequence[str] = ()) -> tuple[str, ...]:
    """Returns the accepted answers as blocks of text, the first of which is the target.

    Args:
        answer: a text or several.
        options: a closed set that they are of. A label is the same one with white space around it.

    Raises:
        UserError: as ``accepted_answers``.
    """
    return tuple(_accepted(one, options) for one in accepted_answers(answer))


def _accepted(answer: str, options: Sequence[str]) -> str:
    if answer in options:
        return answer
    return next((option for option in options if option.strip() == answer.strip()), block(answer))


def record_options(spec: TaskSpec, slots: Slots) -> tuple[str, ...]:
    """Returns the closed set of a record's answers, as declared or in its own slot; ``()`` for free text.

    Raises:
        UserError: a record's own options are not two or more different texts.
    """
    if not isinstance(spec.options, str):
        return spec.options
    given = slots[spec.options]
    options = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else ()
    if not all(isinstance(option, str) for option in options) or not 2 <= len(set(options)) == len(options):
        raise UserError(f"options {list(options) or given!r:.300} must be at least two different strings.")
    return options
