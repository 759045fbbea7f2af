"""What a conversation is: messages with a role each, checked once, for every view of them.

Chat data is published in many formats; once read, a record is
``{"messages": [{"role": "user", "content": "…"}, …]}``, and ``conversation(record)`` makes it this.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from flan_jax.errors import UserError, did_you_mean, unknown
from flan_jax.tasks.spec import Record
from flan_jax.tasks.texts import unsound

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
        content: what is said, white space kept.

    Raises:
        UserError: an unknown role, or nothing said.
    """

    role: str
    content: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise unknown("role", self.role, ROLES) if isinstance(self.role, str) else _no_text("role", self.role)
        if not isinstance(self.content, str):
            raise _no_text("content", self.content)
        if not self.content.strip():
            raise UserError("its content is empty. Fill it, or leave the message out.")
        if wrong := unsound(self.content):
            raise UserError(f"its content {wrong}. Correct it, or leave the record out.")

    def as_dict(self) -> dict[str, str]:
        """As a chat template takes it."""
        return {"role": self.role, "content": self.content}


@dataclasses.dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order, at least one of them the assistant's.

    Raises:
        UserError: no assistant turn: nothing could be learned.
    """

    messages: tuple[Message, ...]

    def __post_init__(self) -> None:
        if not self.replies:
            raise UserError(
                f"none of its {len(self.messages)} messages is the assistant's, so there is nothing to learn. Leave it out."
            )

    @property
    def replies(self) -> tuple[int, ...]:
        """Indices of the assistant's messages."""
        return tuple(index for index, message in enumerate(self.messages) if message.role == ASSISTANT)

    @property
    def answered(self) -> "Conversation":
        """Up to the assistant's last message; of what comes after it nothing can be learned."""
        return Conversation(self.messages[: self.replies[-1] + 1])

    def as_dicts(self) -> list[dict[str, str]]:
        """As a chat template takes them."""
        return [message.as_dict() for message in self.messages]


def conversation(record: Record, *, repeated: Repeated = "merge", opening: Opening = "fail") -> Conversation:
    """The conversation in a record.

    Args:
        record: has ``messages``, a list of objects with a ``role`` and a ``content``.
        repeated: see ``Repeated``; it is about users and assistants, as several tools may well
            answer in a row.
        opening: see ``Opening``.

    Raises:
        UserError: no messages, an unknown role, an empty content, a call of a tool in place of
            one, no assistant turn, or one that comes first; the message is named by its number from 0.
    """
    check_policies(repeated, opening)
    given = record.get("messages")
    if not isinstance(given, list | tuple) or not given:
        have = ", ".join(sorted(map(str, record))) or "none"
        raise UserError(
            f"a conversation has a list 'messages' that is not empty, but this record has not (its fields: {have})."
        )
    messages = [_message(index, message) for index, message in enumerate(given)]
    if repeated == "merge":
        messages = _merged(messages)
    first = next((index for index, message in enumerate(messages) if message.role == USER), len(messages))
    early = [index for index, message in enumerate(messages[:first]) if message.role == ASSISTANT]
    if early and opening == "fail":
        raise UserError(
            "the assistant speaks before any user does. Choose opening='drop' to leave that out, or opening='keep' to learn it too."
        )
    if opening == "drop":
        messages = [message for index, message in enumerate(messages) if index not in early]
    return Conversation(tuple(messages))


def repeated_turns(messages: Iterable[Any]) -> int:
    """How many messages a user or an assistant says right behind one of their own.

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
    if given.get("tool_calls"):
        raise UserError(
            f"{where} calls a tool beside its content, which no view can show. Write the call into the content, or leave the record out."
        )
    try:
        return Message(given["role"], given.get("content", ""))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _merged(messages: Iterable[Message]) -> list[Message]:
    merged: list[Message] = []
    for message in messages:
        if merged and message.role in (USER, ASSISTANT) and merged[-1].role == message.role:
            merged[-1] = Message(message.role, merged[-1].content + _BETWEEN + message.content)
        else:
            merged.append(message)
    return merged


def _no_text(what: str, value: object) -> UserError:
    return UserError(f"its {what} must be a text, not {type(value).__name__} ({value!r:.60}).")
