"""Cleaning steps of published data sets' papers: declared by name, counted, and each can be switched (``Cleaning``).

Cleaning(("empty", "duplicates"))                     # these two
Cleaning(tuple(STEPS)).without("refused")             # all but one
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flan_jax.data.formats import placeholders
from flan_jax.data.formats.markdown import is_html, to_markdown
from flan_jax.errors import UserError, unknown
from flan_jax.tasks.spec import Record

Length = Callable[[str], int]

REFUSALS = (
    "as an ai language model",
    "as a language model, i can",
    "as a language model, i do not",
    "as a language model, i don't",
    "as an ai assistant, i can",
    "as an ai, i ",
    "i'm sorry, but i can",
    "i am sorry, but i can",
    "i'm sorry, but as an ai",
    "i apologize, but i can",
    "sorry, i can't help",
    "sorry, i cannot help",
    "sorry, but i'm unable",
    "i'm not able to help with that",
    "i am unable to fulfill",
    "i cannot fulfill",
    "i can't fulfill",
    "i cannot comply with",
    "i must decline",
    "it goes against my programming",
    "my training data only goes",
    "my knowledge cutoff",
)
"""Phrases of an answer that excuses itself, not of one that only says who is speaking; compared in small letters, with plain apostrophes."""

MAX_LENGTH = 8192
"""Characters of a conversation: about the 2,048 tokens that Vicuna was first trained on."""
_LOOKED_AT = 400  # an excuse stands at the beginning


@dataclasses.dataclass
class StepCount:
    """Counts of one cleaning step.

    Attributes:
        filtered: records that it left out.
        changed: records that it changed.
        added: records that it made beyond those that it was given.
        noticed: finding that it left unchanged → how often.
    """

    filtered: int = 0
    changed: int = 0
    added: int = 0
    noticed: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Cleaning:
    """The steps that records go through, in this order.

    Attributes:
        steps: names among ``STEPS``.
        phrases: beginnings of answers that ``refused`` looks for.
        max_length: the length that ``split`` keeps conversations within.
        length: measures a text for ``split``; characters by default.
        certain_only: ``placeholders`` replaces only what nobody can have meant, and counts the rest.
    """

    steps: tuple[str, ...] = ()
    phrases: tuple[str, ...] = REFUSALS
    max_length: int = MAX_LENGTH
    length: Length = len
    certain_only: bool = False

    def __post_init__(self) -> None:
        for step in self.steps:
            if step not in STEPS:
                raise unknown("cleaning step", str(step), STEPS)
        if len(set(self.steps)) < len(self.steps):
            raise UserError(f"Cleaning lists a step twice: {', '.join(self.steps)}.")
        if self.max_length < 1:
            raise UserError(f"Cleaning: max_length={self.max_length} must be at least 1.")

    def with_steps(self, *steps: str) -> "Cleaning":
        """Adds steps, each at its place in ``STEPS``; ``placeholders`` then replaces uncertain findings too."""
        wanted = {*self.steps, *steps}
        return dataclasses.replace(
            self,
            steps=(*(step for step in STEPS if step in wanted), *sorted(wanted - set(STEPS))),
            certain_only=self.certain_only and "placeholders" not in steps,
        )

    def without(self, *steps: str) -> "Cleaning":
        """Removes steps.

        Raises:
            UserError: an unknown step.
        """
        for step in steps:
            if step not in STEPS:
                raise unknown("cleaning step", step, STEPS)
        return dataclasses.replace(self, steps=tuple(step for step in self.steps if step not in steps))

    def cleaner(self) -> "Cleaner":
        """Makes a cleaner for one pass over the records."""
        return Cleaner(self)


class Cleaner:
    """One pass of a ``Cleaning`` over records; ``counts`` says what each step did so far."""

    def __init__(self, cleaning: Cleaning) -> None:
        self.cleaning = cleaning
        self.counts = {step: StepCount() for step in cleaning.steps}
        self.seen: set[bytes] = set()

    def __call__(self, record: Record) -> list[Record]:
        """Cleans a record: returns none, itself, a changed one, or several."""
        records = [record]
        for step in self.cleaning.steps:
            count = self.counts[step]
            results: list[Record] = []
            for one in records:
                made = STEPS[step](one, self)
                count.filtered += not made
                count.changed += bool(made) and (len(made) > 1 or made[0] is not one)
                count.added += max(0, len(made) - 1)
                results += made
            records = results
        return records


def _messages(record: Record) -> list[dict[str, str]] | None:
    return record.get("messages")


def _outputs(record: Record) -> list[str]:
    value = record["output"] if "output" in record else record.get("targets", "")
    return [value] if isinstance(value, str) else list(value)


def _markdown(record: Record, cleaner: Cleaner) -> list[Record]:
    """Converts the assistant's HTML to Markdown; what a user pasted stays."""
    messages = _messages(record)
    if messages is None or not any(m["role"] == "assistant" and is_html(m["content"]) for m in messages):
        return [record]
    return [{**record, "messages": [_in_markdown(message) for message in messages]}]


def _in_markdown(message: dict[str, str]) -> dict[str, str]:
    if message["role"] != "assistant" or not is_html(message["content"]):
        return message
    return {**message, "content": to_markdown(message["content"]) or message["content"]}


def _opening(record: Record, cleaner: Cleaner) -> list[Record]:
    """Drops the assistant's messages before the user's first turn."""
    messages = _messages(record)
    if messages is None:
        return [record]
    first = next((index for index, message in enumerate(messages) if message["role"] == "user"), len(messages))
    kept = [m for index, m in enumerate(messages) if index >= first or m["role"] == "system"]
    return [record] if len(kept) == len(messages) else _with_answers(record, kept)


def _placeholders(record: Record, cleaner: Cleaner) -> list[Record]:
    """Replaces placeholders: an input or an answer that says there is none, a mark behind an answer."""

    def replaced(found: placeholders.Finding, text: str) -> str:
        if found.replaces and (found.certain or not cleaner.cleaning.certain_only):
            return found.text
        if found.kind:
            noticed = cleaner.counts["placeholders"].noticed
            noticed[found.kind] = noticed.get(found.kind, 0) + 1
        return text

    messages = _messages(record)
    if messages is not None:
        contents = [
            replaced(placeholders.check_answer(m["content"]), m["content"])
            if m["role"] == "assistant"
            else m["content"]
            for m in messages
        ]
        if all(new == message["content"] for new, message in zip(contents, messages, strict=True)):
            return [record]
        changed = [{**message, "content": new} for new, message in zip(contents, messages, strict=True)]
        return _empty({**record, "messages": changed}, cleaner)
    label = "targets" in record  # of a rendered record nobody knows what its answer is one of
    before = _outputs(record)
    outputs = [replaced(placeholders.check_answer(text, label=label), text) for text in before]
    given = replaced(placeholders.check_input(record["input"]), record["input"]) if "input" in record else None
    if outputs == before and given == record.get("input"):
        return [record]
    kept = [new for new, old in zip(outputs, before, strict=True) if new or not old]
    if not kept:
        return []
    key = "output" if "output" in record else "targets"
    return [{**record, **({} if given is None else {"input": given}), key: kept[0] if len(before) == 1 else kept}]


def _empty(record: Record, cleaner: Cleaner) -> list[Record]:
    """Drops records without an answer; cuts a conversation before its first empty turn."""
    messages = _messages(record)
    if messages is not None:
        spoken = [m for m in messages if m["role"] != "system" or m["content"].strip()]
        end = next((i for i, m in enumerate(spoken) if not (m["content"].strip() or m.get("tool_calls"))), len(spoken))
        return [record] if end == len(messages) else _with_answers(record, spoken[:end])
    outputs = _outputs(record)
    filled = [output for output in outputs if output.strip()]
    question = record["inputs"] if "inputs" in record else record["instruction"] + record.get("input", "")
    if not filled or not question.strip():
        return []
    if len(filled) == len(outputs):
        return [record]
    return [{**record, "output" if "output" in record else "targets": filled}]


def _with_answers(record: Record, messages: list[dict[str, str]]) -> list[Record]:
    """Cuts a conversation behind its last answer; drops it where no question is answered."""
    last = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    kept = messages[: last + 1]
    return [{**record, "messages": kept}] if any(message["role"] == "user" for message in kept) else []


def _refused(record: Record, cleaner: Cleaner) -> list[Record]:
    """Drops records with an answer that begins with an excuse."""
    messages = _messages(record)
    answers = _outputs(record) if messages is None else [m["content"] for m in messages if m["role"] == "assistant"]
    heads = [text.lstrip()[:_LOOKED_AT].lower().replace("’", "'") for text in answers]
    return [] if any(phrase in head for head in heads for phrase in cleaner.cleaning.phrases) else [record]


def _duplicates(record: Record, cleaner: Cleaner) -> list[Record]:
    """Drops records whose texts were there before, word for word."""
    messages = _messages(record)
    parts = [record.get(key, "") for key in ("system", "instruction", "input", "inputs")] + _outputs(record)
    if messages is not None:
        parts = [str(value) for message in messages for value in message.values()]
    parts += [text for message in record.get("history", ()) for text in message.values()]
    key = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=12).digest()
    if key in cleaner.seen:
        return []
    cleaner.seen.add(key)
    return [record]


def _split(record: Record, cleaner: Cleaner) -> list[Record]:
    """Splits a long conversation before turns of the user; system messages begin every part."""
    messages = _messages(record)
    if messages is None:
        return [record]
    measure, limit = cleaner.cleaning.length, cleaner.cleaning.max_length
    lengths = [measure(message["content"]) for message in messages]
    if sum(lengths) <= limit:
        return [record]
    first = next((index for index, message in enumerate(messages) if message["role"] != "system"), len(messages))
    head_length = sum(lengths[:first])
    parts: list[list[dict[str, str]]] = []
    room = 0
    for exchange, size in _exchanges(messages[first:], lengths[first:]):
        if not parts or size > room:
            parts.append(list(messages[:first]))
            room = limit - head_length
        parts[-1] += exchange
        room -= size
    made = [whole for part in parts for whole in _with_answers(record, part)]
    return [record] if len(made) == 1 and made[0]["messages"] == messages else made


def _exchanges(messages: Iterable[dict[str, str]], lengths: Iterable[int]) -> list[tuple[list[dict[str, str]], int]]:
    """Groups messages into (a user's turn with all that answers it, its length)."""
    exchanges: list[tuple[list[dict[str, str]], int]] = []
    answered = True
    for message, length in zip(messages, lengths, strict=True):
        if not exchanges or (message["role"] == "user" and answered):
            exchanges.append(([], 0))
            answered = False
        answered = answered or message["role"] == "assistant"
        own, size = exchanges[-1]
        own.append(message)
        exchanges[-1] = (own, size + length)
    return exchanges


Step = Callable[[Record, Cleaner], list[Any]]
STEPS: Mapping[str, Step] = {
    "markdown": _markdown,
    "opening": _opening,
    "placeholders": _placeholders,
    "empty": _empty,
    "refused": _refused,
    "duplicates": _duplicates,
    "split": _split,
}
"""Name → step, in the order in which they do their work best."""
