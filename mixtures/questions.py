"""Reading questions, their choices and their answers from records, for the question-answering tasks."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError
from flan_jax.tasks.fields import column, text, texts
from flan_jax.tasks.spec import Record

_LETTERED = re.compile(r"(?:^|\s)\(([A-Z])\)\s*")


def asked(question: str) -> str:
    """A question as a sentence: a capital in front, a question mark behind.

    >>> asked("who wrote war and peace")
    'Who wrote war and peace?'
    """
    question = question.strip()
    return question[:1].upper() + question[1:] + ("" if question.endswith("?") else "?")


def sentence(words: str) -> str:
    """A statement as a sentence: a capital in front, a stop behind.

    >>> sentence("bees make honey")
    'Bees make honey.'
    """
    words = words.strip()
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


def numbered(items: Sequence[str]) -> str:
    """One line an item, counted from 1.

    >>> numbered(["red", "blue"])
    '1. red\\n2. blue'
    """
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, start=1))


def texts_in_order(record: Record, *names: str) -> tuple[str, ...]:
    """A column's list of texts that something else counts or numbers, so that none may be blank.

    Raises:
        UserError: no such column, no list of texts, or a blank one among them.
    """
    found = texts(record, *names)
    if len(found) != len(column(record, *names)):
        raise UserError(f"{names[0]!r} holds a blank text.")
    return found


def labelled_choices(given: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels and texts of choices: two lists in one object, or one object a choice.

    Raises:
        UserError: neither.
    """
    if isinstance(given, Sequence) and all(isinstance(choice, Mapping) for choice in given):
        given = {key: [choice.get(key) for choice in given] for key in ("label", "text")}
    if not isinstance(given, Mapping):
        raise UserError(f"'choices' must hold 'label' and 'text', not {given!r:.60}.")
    labels, found = (texts_in_order(given, key) for key in ("label", "text"))
    if len(labels) != len(found):
        raise UserError(f"'choices' has {len(labels)} labels for {len(found)} texts.")
    return labels, found


def lettered_choices(line: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Labels and texts of choices written in one line.

    Raises:
        UserError: no letter in brackets, or nothing behind one.

    >>> lettered_choices("(A) a cat (B) a dog")
    (('A', 'B'), ('a cat', 'a dog'))
    """
    parts = _LETTERED.split(line)
    labels, found = tuple(parts[1::2]), tuple(part.strip() for part in parts[2::2])
    if not labels or not all(found):
        raise UserError(f"the choices {line!r:.60} are not written as '(A) … (B) …'.")
    return labels, found


def place_of(key: Any, labels: Sequence[str]) -> int | None:
    """Where the label ``key`` stands; ``None`` for a blank one, which is how unlabelled records have it.

    Raises:
        UserError: it is none of the labels.
    """
    if key is None or not str(key).strip():
        return None
    if str(key).strip() not in labels:
        raise UserError(f"the answer's label {key!r} is none of {', '.join(labels)}.")
    return labels.index(str(key).strip())


def choice_slots(choices: Sequence[str], place: int) -> dict[str, Any]:
    """The slots ``choices``, ``answer`` and ``others``, which is the wrong choices in one text.

    Published records list a choice twice now and then; it is shown once.

    Raises:
        UserError: no choice at ``place``.

    >>> choice_slots(["red", "blue", "green"], 1)
    {'choices': ('red', 'blue', 'green'), 'answer': 'blue', 'others': 'red; green'}
    """
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(choices):
        raise UserError(f"the answer's place {place!r} must be an integer from 0 to {len(choices) - 1}.")
    different = tuple(dict.fromkeys(choices))
    others = "; ".join(choice for choice in different if choice != choices[place])
    return {"choices": different, "answer": choices[place], "others": others}


def accepted_answers(record: Record) -> tuple[str, ...]:
    """The texts in ``answers`` of a record in SQuAD's shape, each once; ``()`` where there are none.

    Raises:
        UserError: no such column, or what is in it has another shape.
    """
    given = column(record, "answers")
    found = given.get("text") if isinstance(given, Mapping) else given
    if isinstance(found, Sequence) and all(isinstance(answer, Mapping) for answer in found):
        found = [answer.get("text") for answer in found]
    if found is not None and len(found) == 0:
        return ()
    return tuple(dict.fromkeys(texts({"answers": found}, "answers")))


def squad_slots(record: Record) -> dict[str, Any]:
    """The slots ``title``, ``context`` and ``question`` of a record in SQuAD's shape.

    Raises:
        UserError: one of them is missing.
    """
    return {
        "title": text(record, "title").replace("_", " "),
        "context": text(record, "context"),
        "question": text(record, "question"),
    }
