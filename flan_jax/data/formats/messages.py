"""The formats of chat messages, a role and a content each, as chat templates take them."""

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
from flan_jax.data.formats.speakers import calls, role_of
from flan_jax.errors import UserError
from flan_jax.tasks.chat import turns
from flan_jax.tasks.known_keys import empty
from flan_jax.tasks.spec import Record

MESSAGE = tuple(sorted(turns.READ))
"""Keys that are read of every message beside its speaker and its words."""
_LISTS = ("messages", "conversations", "conversation")
_PROVENANCE = ("id", "lang", "language", "source", "category", "prompt_id")


def messages_of(
    given: Sequence[Mapping[str, Any]], role: str = "role", content: str = "content"
) -> list[dict[str, Any]]:
    """Messages with the roles and contents that are found at these keys, and what else ``turns.READ`` finds in them.

    Raises:
        UserError: an unknown speaker, or a content that is no text; the message is named by its number from 0.
    """
    messages = []
    for index, message in enumerate(given):
        try:
            messages.append(_message(message, role, content))
        except UserError as error:
            raise within(f"message {index}", error) from error
    return messages


def _message(message: Mapping[str, Any], role: str, content: str) -> dict[str, Any]:
    speaker, rest = message.get(role), _rest(message, role, content)
    made = {"role": role_of(speaker), "content": _content(message, content, optional=bool(rest.get("tool_calls")))}
    if isinstance(message.get(content), list | tuple) and (thought := _thoughts(message[content])):
        rest["reasoning_content"] = thought
    if made["role"] == "assistant" and calls(speaker):
        called = turns.call_in(made["content"])
        if called is not None:  # what is no JSON is what was said
            rest["tool_calls"], made["content"] = called, ""
    if rest.get("function_call") and not rest.get("tool_calls"):
        rest["tool_calls"] = [rest["function_call"]]
    rest.pop("function_call", None)
    return {**made, **rest}


def _rest(message: Mapping[str, Any], role: str, content: str) -> dict[str, Any]:
    """What a message says beside its words, where it says anything: whether it is learned, thoughts, calls, tools."""
    reply = role_of(message.get(role)) == "assistant"
    kept = {key: message[key] for key in (*turns.REASONING, *turns.CALLS, *turns.TOOLS) if not empty(message.get(key))}
    if not reply and role_of(message.get(role)) == "tool":
        kept |= {key: message[key] for key in turns.ANSWERED_CALL if isinstance(message.get(key), str)}
    if not turns.is_trained(message, reply=reply) and reply:
        kept["train"] = False
    return kept


def _content(message: Mapping[str, Any], key: str, *, optional: bool) -> str:
    """The text of a message, with the text parts of a content in parts; it may be missing where tools are called."""
    value = message.get(key)
    optional = optional or bool(message.get("function_call"))
    if isinstance(value, list | tuple):
        value = "\n".join(_part(part) for part in value if not _is_thought(part))
    if value is None and not optional:
        raise UserError(f"its {key!r} is {'null' if key in message else 'missing'}. Correct or remove the record.")
    return "" if value is None else checked_text(value, key)


def _is_thought(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in ("thinking", "reasoning")


def _thoughts(parts: Sequence[Any]) -> str:
    """What stands in the parts of a content that are thoughts."""
    return "\n".join(text_of(part, "thinking" if "thinking" in part else "text") for part in parts if _is_thought(part))


def _part(part: Any) -> str:
    if isinstance(part, Mapping) and part.get("type") in (None, "text"):
        return text_of(part, "text")
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise UserError(f"a part of its content is {kind!r}, but only text can be read. Leave the record out.")


def checked_chat(messages: list[dict[str, Any]], **rest: Any) -> dict[str, Any]:
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
    """The tools that a record describes, as JSON text, where it does."""
    tools = turns.tools_of(record)
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
    reads=_LISTS,
    nested=tuple((key, (*MESSAGE, "role", "content")) for key in _LISTS),
)
PROMPT_COMPLETION_CHAT = Format(
    name="prompt_completion_chat",
    about="prompt and completion, both lists of messages",
    kind="chat",
    keys=("prompt", "completion"),
    detect=_is_chat_completion,
    read=_read_chat_completion,
    nested=tuple((key, (*MESSAGE, "role", "content")) for key in ("prompt", "completion")),
)
