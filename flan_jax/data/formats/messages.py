"""Chat in the form that chat templates take: messages with a role and a content each."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flan_jax.data.formats.record_format import (
    Format,
    LeftOut,
    checked_text,
    list_at,
    objects_of,
    provenance,
    text_of,
    within,
)
from flan_jax.errors import UserError, unknown
from flan_jax.tasks.spec import Record

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
}
"""What published data calls a speaker → the role."""

_LISTS = ("messages", "conversations", "conversation")
_PROVENANCE = ("id", "lang", "language", "source", "category", "prompt_id")


def role_of(name: Any) -> str:
    """The role of a speaker.

    Raises:
        UserError: no speaker of that name is known.
    """
    role = ROLES.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        raise unknown("speaker", str(name)[:60], ROLES)
    return role


def messages_of(
    given: Sequence[Mapping[str, Any]], role: str = "role", content: str = "content"
) -> list[dict[str, str]]:
    """Messages with the roles and contents that are found at these keys.

    Raises:
        UserError: an unknown speaker, or a content that is no text; the message is named by its number from 0.
    """
    messages = []
    for index, message in enumerate(given):
        try:
            messages.append({"role": role_of(message.get(role)), "content": _content(message, content)})
        except UserError as error:
            raise within(f"message {index}", error) from error
    return messages


def _content(message: Mapping[str, Any], key: str) -> str:
    """The text of a message, with the text parts of a content in parts, and the calls of tools as JSON."""
    value, calls = message.get(key), message.get("tool_calls") or message.get("function_call")
    if isinstance(value, list | tuple):
        value = "\n".join(_part(part) for part in value)
    if value is None and not calls:
        raise UserError(f"its {key!r} is {'null' if key in message else 'missing'}. Correct or remove the record.")
    parts = [checked_text(value, key)] if value not in (None, "") else []
    if calls:
        try:
            parts.append(checked_text(json.dumps(_called(calls), ensure_ascii=False), "tool_calls"))
        except (TypeError, ValueError, RecursionError) as error:
            raise UserError(f"its calls of tools are no JSON ({error}). Correct or remove the record.") from error
    return "\n".join(parts)


def _called(calls: Any) -> Any:
    """What is called with which arguments; who calls it by which identifier teaches nothing."""
    if not isinstance(calls, list | tuple):
        return calls
    return [call.get("function", call) if isinstance(call, Mapping) else call for call in calls]


def _part(part: Any) -> str:
    if isinstance(part, Mapping) and part.get("type") in (None, "text"):
        return text_of(part, "text")
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise UserError(f"a part of its content is {kind!r}, but only text can be read. Leave the record out.")


def checked_chat(messages: list[dict[str, str]], **rest: Any) -> dict[str, Any]:
    """A chat record.

    Raises:
        UserError: nobody asks, or nobody answers.
    """
    roles = {message["role"] for message in messages}
    for role in ("user", "assistant"):
        if role not in roles:
            raise UserError(f"none of its {len(messages)} messages is the {role}'s. Leave the record out.")
    return {"messages": messages, **rest}


def tools_of(record: Record) -> dict[str, Any]:
    """The tools that a record describes, where it does."""
    tools = record.get("tools") or record.get("functions")
    return {"tools": tools} if tools else {}


def _messages_key(record: Record) -> str:
    return next((key for key in _LISTS if list_at(record, key, "role")), "")


def _is_messages(record: Record) -> bool:
    return bool(_messages_key(record))


def _read_messages(record: Record, left_out: LeftOut) -> Iterator[Record]:
    messages = messages_of(objects_of(record, _messages_key(record) or "messages"))
    yield checked_chat(messages, **tools_of(record), **provenance(record, *_PROVENANCE))


def _is_chat_completion(record: Record) -> bool:
    return list_at(record, "prompt", "role", "content") and list_at(record, "completion", "role", "content")


def _read_chat_completion(record: Record, left_out: LeftOut) -> Iterator[Record]:
    asked, answer = (messages_of(objects_of(record, key)) for key in ("prompt", "completion"))
    yield checked_chat(asked + answer, **tools_of(record), **provenance(record, *_PROVENANCE))


MESSAGES = Format(
    name="messages",
    about="messages: a list of objects with role (system, user, assistant, tool) and content; maybe tools",
    kind="chat",
    keys=("messages",),
    detect=_is_messages,
    read=_read_messages,
)
PROMPT_COMPLETION_CHAT = Format(
    name="prompt_completion_chat",
    about="prompt and completion, both lists of messages",
    kind="chat",
    keys=("prompt", "completion"),
    detect=_is_chat_completion,
    read=_read_chat_completion,
)
