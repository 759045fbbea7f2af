"""What a task reads of a record: its slots, its accepted answers, its options."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.tasks.fewshot import Slots
from flan_jax.tasks.spec import GROUP, Record, TaskSpec
from flan_jax.tasks.unicode_check import block

_FAILURES = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


def slots_from(spec: TaskSpec, record: Record) -> Slots | None:
    """What ``spec.fields`` makes of a record; ``None`` where the record is no example of the task.

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


def extras_from(spec: TaskSpec, record: Record) -> dict[str, str]:
    """The texts of a record that are kept beside its tokens.

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


def answers_of(answer: Any) -> tuple[str, ...]:
    """The accepted answers byte for byte, the first of which is the target.

    Raises:
        UserError: neither a text nor a sequence of texts.
    """
    if isinstance(answer, str):
        return (answer,)
    answers = tuple(answer) if isinstance(answer, Iterable) else ()
    if not answers or not all(isinstance(one, str) for one in answers):
        raise UserError(f"the answer {answer!r:.80} is neither a string nor a non-empty sequence of strings.")
    return answers


def references_of(answer: Any, options: Sequence[str] = ()) -> tuple[str, ...]:
    """The accepted answers as blocks of text, the first of which is the target.

    Args:
        answer: a text or several.
        options: a closed set that they are of. A label is the same one with white space around it.

    Raises:
        UserError: as ``answers_of``.
    """
    return tuple(_accepted(one, options) for one in answers_of(answer))


def _accepted(answer: str, options: Sequence[str]) -> str:
    if answer in options:
        return answer
    return next((option for option in options if option.strip() == answer.strip()), block(answer))


def options_of(spec: TaskSpec, slots: Slots) -> tuple[str, ...]:
    """The closed set of a record's answers, as declared or in its own slot; ``()`` for free text.

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
