"""Conversations: messages with a role each, checked once, for every view of them.

Chat data is published in many formats; once read, a record is
``{"messages": [{"role": "user", "content": "…"}, …]}``, maybe with ``tools``, and ``conversation(record)`` makes it
this. What else keys of a record or of a message say is honoured or refused: see ``flan_jax.tasks.known_keys`` and
``flan_jax.tasks.chat.turns``.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from flan_jax.errors import UserError, did_you_mean, unknown
from flan_jax.tasks.chat import turns
from flan_jax.tasks.known_keys import context_of, left_out_by, refuse_pairs
from flan_jax.tasks.spec import Record
from flan_jax.tasks.unicode_check import unsound

SYSTEM, USER, ASSISTANT, TOOL = "system", "user", "assistant", "tool"
ROLES = (SYSTEM, USER, ASSISTANT, TOOL)

Repeated = Literal["merge", "keep"]
"""What becomes of two messages of one speaker in a row: one message, with a blank line between them, or two."""
Opening = Literal["fail", "drop", "keep"]
"""What becomes of what an assistant says before any user: an error, left out, or kept as it is."""

_BETWEEN = "\n\n"


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """One turn.

    Attributes:
        role: ``system``, ``user``, ``assistant`` or ``tool``.
        content: what is said, white space kept; only beside calls of tools it may be empty.
        trained: whether the assistant's words are learned, and not only what later ones follow.
        reasoning: what the assistant thought before.
        calls: of tools, as JSON text of a list; ``""`` for none.
        answers: what a tool's message says of the call that it answers: (key, value) of ``name`` and ``tool_call_id``.

    Raises:
        UserError: an unknown role, nothing said, or thoughts or calls that are not the assistant's.
    """

    role: str
    content: str
    trained: bool = True
    reasoning: str = ""
    calls: str = ""
    answers: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise unknown("role", self.role, ROLES) if isinstance(self.role, str) else _no_text("role", self.role)
        if not isinstance(self.content, str):
            raise _no_text("content", self.content)
        if not self.content.strip() and not self.calls:
            raise UserError("its content is empty. Fill it, or leave the message out.")
        if self.role != ASSISTANT and (self.reasoning or self.calls):
            what = "thoughts" if self.reasoning else "calls of tools"
            raise UserError(f"it is the {self.role}'s and has {what}, but only the assistant has. Correct the record.")
        if wrong := unsound(self.content):
            raise UserError(f"its content {wrong}. Correct it, or leave the record out.")

    def as_dict(self, reasoning: str = "reasoning_content") -> dict[str, Any]:
        """As a chat template takes it, thoughts at the key ``reasoning``."""
        made: dict[str, Any] = {"role": self.role, "content": self.content, **dict(self.answers)}
        if self.reasoning:
            made[reasoning] = self.reasoning
        if self.calls:
            made["tool_calls"] = json.loads(self.calls)
        return made


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order, at least one of them the assistant's and to be learned.

    Attributes:
        messages: the turns.
        tools: that the assistant may call, as JSON text of a list; ``""`` for none.

    Raises:
        UserError: no such turn: nothing could be learned.
    """

    messages: tuple[Message, ...]
    tools: str = ""

    def __post_init__(self) -> None:
        if not self.replies:
            unlearned = any(message.role == ASSISTANT for message in self.messages)
            lacking = "a reply to be learned" if unlearned else "the assistant's"
            raise UserError(
                f"none of its {len(self.messages)} messages is {lacking}, so there is nothing to learn. Leave it out."
            )

    @property
    def replies(self) -> tuple[int, ...]:
        """Indices of the assistant's messages that are learned."""
        return tuple(i for i, message in enumerate(self.messages) if message.role == ASSISTANT and message.trained)

    @property
    def answered(self) -> "Conversation":
        """Up to the last message that is learned; of what comes after it nothing can be."""
        return dataclasses.replace(self, messages=self.messages[: self.replies[-1] + 1])

    def as_dicts(self) -> list[dict[str, Any]]:
        """As a chat template takes them."""
        return [message.as_dict() for message in self.messages]


def conversation(record: Record, *, repeated: Repeated = "merge", opening: Opening = "fail") -> Conversation:
    """The conversation in a record.

    Args:
        record: has ``messages``, a list of objects with a ``role`` and a ``content``; maybe ``tools``, ``system`` and
            ``history``.
        repeated: see ``Repeated``; it is about users and assistants, as several tools may well
            answer in a row.
        opening: see ``Opening``.

    Raises:
        UserError: no messages, an unknown role, an empty content, no assistant turn, or one that comes first; the
            message is named by its number from 0. So is what a key says that must not be trained on.
    """
    check_policies(repeated, opening)
    refuse_pairs(record)
    if reason := left_out_by(record):
        raise UserError(f"nothing of it is to be learned: {reason}. Leave it out.")
    given = record.get("messages")
    if not isinstance(given, list | tuple) or not given:
        have = ", ".join(sorted(map(str, record))) or "none"
        raise UserError(
            f"a conversation has a list 'messages' that is not empty, but this record has not (its fields: {have})."
        )
    messages = [_message(index, message) for index, message in enumerate(headed(record, list(given)))]
    tools = turns.tools_of(record) or next(filter(None, map(turns.tools_of, given)), "")
    if repeated == "merge":
        messages = _merged(messages)
    first = next((index for index, message in enumerate(messages) if message.role == USER), len(messages))
    early = [index for index, message in enumerate(messages[:first]) if message.role == ASSISTANT]
    if early and opening == "fail":
        raise UserError(
            "the assistant speaks before any user does. Leave that out with --opening drop, or learn it too with --opening keep (run.opening in a run, opening= in Python)."
        )
    if opening == "drop":
        messages = [message for index, message in enumerate(messages) if index not in early]
    return Conversation(tuple(messages), tools)


def headed(record: Mapping[str, Any], messages: list[Any]) -> list[Any]:
    """The messages behind the system prompt and the history that stand beside them in a record.

    Raises:
        UserError: as ``context_of``; or the messages begin with another system prompt.
    """
    system, history = context_of(record)
    if not system and not history:
        return messages
    first = messages[0] if messages and isinstance(messages[0], Mapping) and messages[0].get("role") == SYSTEM else None
    if first is not None:
        if system and str(first.get("content", "")).strip() != system.strip():
            raise UserError("the record and its first message are two system prompts that differ. Keep one of them.")
        return [first, *history, *messages[1:]]
    return [*([{"role": SYSTEM, "content": system}] if system else []), *history, *messages]


def repeated_turns(messages: Iterable[Any]) -> int:
    """Counts the messages that a user or an assistant says right behind one of their own.

    Args:
        messages: objects with a role each; what is none counts for nothing.
    """
    roles = [message.get("role") if isinstance(message, Mapping) else None for message in messages]
    return sum(role == before and role in (USER, ASSISTANT) for before, role in itertools.pairwise(roles))


def check_policies(repeated: str, opening: str) -> None:
    """Refuses a policy that there is not.

    Raises:
        UserError: with the choices.
    """
    for name, value, choices in (("repeated", repeated, get_args(Repeated)), ("opening", opening, get_args(Opening))):
        if value not in choices:
            raise UserError(f"{name}={value!r} must be one of {', '.join(choices)}.{did_you_mean(str(value), choices)}")


def _message(index: int, given: Any) -> Message:
    where = f"message {index}"
    if not isinstance(given, Mapping) or "role" not in given:
        raise UserError(f"{where} must be an object with a role and a content, not {given!r:.60}.")
    try:
        refuse_pairs(given)
        if media := turns.media_in(given):
            raise UserError(f"it has {media}, but only text can be read. Leave the record out.")
        role, reply = given["role"], given["role"] == ASSISTANT
        answers = tuple(
            (key, given[key]) for key in turns.ANSWERED_CALL if role == TOOL and isinstance(given.get(key), str)
        )
        trained = turns.is_trained(given, reply=reply)
        calls = turns.calls_of(given)
        content = given.get("content", "")
        said = "" if content is None and calls else content
        return Message(role, said, trained or not reply, turns.reasoning_of(given), calls, answers)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _merged(messages: Iterable[Message]) -> list[Message]:
    merged: list[Message] = []
    for message in messages:
        if merged and _are_one(merged[-1], message):
            merged[-1] = dataclasses.replace(merged[-1], content=merged[-1].content + _BETWEEN + message.content)
        else:
            merged.append(message)
    return merged


def _are_one(earlier: Message, message: Message) -> bool:
    """Tells whether two messages in a row can be one: by one speaker, in words alone, both learned or neither."""
    return (
        message.role in (USER, ASSISTANT)
        and earlier.role == message.role
        and earlier.trained == message.trained
        and not (earlier.calls or message.calls or message.reasoning)
    )


def _no_text(what: str, value: object) -> UserError:
    return UserError(f"its {what} must be a text, not {type(value).__name__} ({value!r:.60}).")
