"""Reads a record in its format, and honors keys that mean the same in every format (``read_record``)."""

from collections.abc import Iterator
from typing import Any

from flan_jax.data.formats.record_format import Format, LeftOut
from flan_jax.errors import UserError
from flan_jax.tasks.chat import turns
from flan_jax.tasks.chat.conversation import ASSISTANT, headed
from flan_jax.tasks.known_keys import context_of, left_out_by, pair_keys, refuse_pairs
from flan_jax.tasks.spec import Record

VERSION = 1
"""Raised when the same keys are honoured otherwise."""
MESSAGE_LISTS = ("messages", "conversations", "conversation", "prompt", "completion")
_CONVERSATIONS = ("messages", "conversations", "conversation")
_ANSWERS = ("output", "response", "completion")
_NOTHING_LEARNED = "no reply to be learned"


def read_record(known: Format, record: Record, left_out: LeftOut) -> Iterator[Record | UserError]:
    """Yields the normalized records in a record; ``left_out`` is called with the reason where it gives none.

    A record that is marked as bad, has a weight of 0, or belongs to a picture is left out. A system prompt and turns
    that stand beside the record's own words come before them: as messages in a conversation, and at ``system`` and
    ``history`` in other records.

    Raises:
        UserError: preference data, a weight that no loss here has, two system prompts, or what the format refuses.
    """
    refuse_pairs(record)
    _refuse_rivals(record, known)
    reason = left_out_by(record) or _media(record)
    if reason:
        left_out(reason)
        return
    system, history = context_of(record)
    for made in known.read(record, left_out):
        if isinstance(made, UserError):
            yield made
        elif "messages" in made:
            messages = headed(record, made["messages"])
            if any(message["role"] == ASSISTANT and message.get("train", True) for message in messages):
                yield {**made, "messages": messages}
            else:
                left_out(_NOTHING_LEARNED)
        else:
            yield {**made, **({"system": system} if system else {}), **({"history": history} if history else {})}


def _refuse_rivals(record: Record, known: Format) -> None:
    """Refuses a record that holds two answers, or two conversations, one of which would be dropped."""
    if known.kind == "chat":
        texts = {key: _words(record[key]) for key in _CONVERSATIONS if isinstance(record.get(key), list | tuple)}
        two = {key: words for key, words in texts.items() if words}
    else:
        two = {key: record[key] for key in _ANSWERS if isinstance(record.get(key), str) and record[key].strip()}
    if len(two) > 1 and len(set(two.values())) > 1:
        raise UserError(
            f"{' and '.join(map(repr, two))} differ, and only one of them can be learned. Keep the right one and remove or "
            "rename the other."
        )


def _words(messages: Any) -> tuple[str, ...]:
    """Returns the texts of messages, whatever the keys of speaker and text."""
    return tuple(str(m.get("content", m.get("value"))) if isinstance(m, dict) else str(m) for m in messages)


def _media(record: Record) -> str:
    for message in _messages(record):
        if pair_keys(message):
            refuse_pairs(message)
        if what := turns.media_in(message):
            return f"has {what}"
    return ""


def _messages(record: Record) -> Iterator[dict[str, Any]]:
    for key in MESSAGE_LISTS:
        value = record.get(key)
        if isinstance(value, list | tuple):
            yield from (message for message in value if isinstance(message, dict))
