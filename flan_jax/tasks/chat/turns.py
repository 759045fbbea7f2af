"""Parts of a message beside its words: whether it is learned, how it was reasoned, which tools it calls."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from flan_jax.errors import UserError
from flan_jax.tasks.known_keys import BAD, GOOD, LABEL, MEDIA, VERDICTS, empty, verdict, weight_of, yes_or_no
from flan_jax.tasks.unicode_check import unsound
from flan_jax.unique_keys import decode

LOSS_ON = ("train", "training", "trainable", "train_on", "train_on_turn", "learn", "loss", "loss_mask", "include")
"""Keys whose "no" takes a message out of the loss."""
LOSS_OFF = ("masked", "is_masked", "mask", "ignore", "ignore_loss", "no_loss", "exclude")
"""Keys whose "yes" does."""
LOSS_WEIGHTS = ("weight", "loss_weight", "loss_scale")
LOSS_PARTS = ("train_detail", "training_detail", "train_spans")
"""Keys that name parts of a message."""
REASONING = ("reasoning_content", "thinking", "reasoning", "thought", "thoughts", "think")
CALLS = ("tool_calls", "function_call")
TOOLS = ("tools", "functions")
ANSWERED_CALL = ("name", "tool_call_id")
"""What a tool's message says of the call that it answers."""
READ = frozenset((*LOSS_ON, *LOSS_OFF, *LOSS_WEIGHTS, *LOSS_PARTS, *REASONING, *CALLS, *TOOLS, "tool_call_id"))
"""Keys of messages that are honoured or refused, beside those of ``flan_jax.tasks.known_keys``."""


def is_trained(message: Mapping[str, Any], *, reply: bool) -> bool:
    """Whether a message is learned, as its own keys say.

    Args:
        message: as published.
        reply: whether it is the assistant's: only such a one can be learned.

    Raises:
        UserError: a weight other than 0 and 1, a part of a message, something that is neither yes nor no, or a
            message that is not the assistant's and should be learned.
    """
    trained: bool | None = None
    for key in message:
        value = message[key]
        said: bool | None = None
        if empty(value):
            continue
        if key in LOSS_WEIGHTS:
            said = _plain(key, value, weight_of(key, value))
        elif key in LOSS_ON:
            said = _plain(key, value, yes_or_no(value))
        elif key in LOSS_OFF:
            said = not _plain(key, value, yes_or_no(value))
            said = None if said else False  # that nothing hides it asks for nothing
        elif key in LOSS_PARTS:
            raise UserError(
                f"{key!r} learns parts of a message, but it is learned whole or not at all. Divide the message."
            )
        elif reply and (key == LABEL or key in GOOD or key in BAD or key in VERDICTS):
            said = False if verdict(key, value) is False else None
        if said is False:
            trained = False
        elif said and not reply and key not in LOSS_WEIGHTS:
            raise UserError(f"{key!r} asks to learn it, but only what the assistant says is learned. Remove the key.")
    return trained is not False


def _plain(key: str, value: Any, said: bool | None) -> bool:
    if said is None:
        raise UserError(f"{key!r} is {value!r:.60}, which is neither yes nor no. Write true or false.")
    return said


def reasoning_of(message: Mapping[str, Any]) -> str:
    """Returns what the assistant thought before it spoke; ``""`` for nothing.

    Raises:
        UserError: no text, or two that differ.
    """
    said: dict[str, str] = {}
    for key in REASONING:
        value = message.get(key)
        if empty(value):
            continue
        if not isinstance(value, str):
            raise UserError(f"its {key!r} must be a text, not {type(value).__name__} ({value!r:.60}). Correct it.")
        if wrong := unsound(value):
            raise UserError(f"its {key!r} {wrong}. Correct it, or leave the record out.")
        if value.strip():
            said.setdefault(value, key)
    if len(said) > 1:
        raise UserError(f"its {' and '.join(map(repr, said.values()))} are two thoughts that differ. Keep one of them.")
    return next(iter(said), "")


def calls_of(message: Mapping[str, Any]) -> str:
    """The calls of tools in a message, as JSON text of a list; ``""`` for none.

    Arguments that are published as JSON text become the object that they are, which is what chat templates write.

    Raises:
        UserError: no JSON, or no names of functions.
    """
    given = message.get("tool_calls")
    if empty(given):
        given = None if empty(message.get("function_call")) else [message["function_call"]]
    if given is None:
        return ""
    calls = _json_of(given, "tool_calls")
    if not isinstance(calls, list | tuple):
        raise UserError(f"its calls of tools must be a list, not {type(calls).__name__}. Correct the record.")
    return _text([_call(call) for call in calls], "tool_calls")


def call_in(content: str) -> list[Any] | None:
    """The calls that a text is, where it is the JSON of one or of several; ``None`` where it is something else.

    >>> call_in('{"name": "add", "arguments": {"a": 1}}'), call_in("Let me see.")
    ([{'name': 'add', 'arguments': {'a': 1}}], None)
    """
    try:
        found = decode(content)
    except (ValueError, RecursionError):
        return None
    calls = found if isinstance(found, list) else [found]
    return (
        calls if calls and all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls) else None
    )


def _call(call: Any) -> dict[str, Any]:
    call = _json_of(call, "tool_calls")
    inner = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise UserError(f"a call of a tool must name a function, not {call!r:.80}. Correct the record.")
    arguments = inner.get("arguments", inner.get("parameters", {}))
    if isinstance(arguments, str):
        with contextlib.suppress(ValueError, RecursionError):  # some write an argument in words
            arguments = decode(arguments) if arguments.strip() else {}
    outer = {key: call[key] for key in ("id",) if "function" in call and not empty(call.get(key))}
    return {**outer, "type": "function", "function": {"name": inner["name"], "arguments": arguments}}


def tools_of(record: Mapping[str, Any]) -> str:
    """The tools that a record, or a system message, describes, as JSON text of a list; ``""`` for none.

    Raises:
        UserError: no JSON, or no list of objects.
    """
    for key in TOOLS:
        value = record.get(key)
        if empty(value) or (isinstance(value, str) and value.strip() in ("", "[]", "{}", "null")):
            continue
        tools = _json_of(value, key)
        if isinstance(tools, Mapping):
            tools = [tools]
        if isinstance(tools, list | tuple):
            tools = [_json_of(tool, key) for tool in tools]
        if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
            raise UserError(
                f"{key!r} must be a list of objects that describe tools, not {value!r:.80}. Correct the record."
            )
        if key == "functions":  # the form before OpenAI's `tools`
            tools = [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]
        if tools:
            return _text(tools, key)
    return ""


def _json_of(value: Any, name: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return decode(value)
    except (ValueError, RecursionError) as error:
        raise UserError(f"its {name!r} is no JSON ({value!r:.60}: {error}). Correct or remove the record.") from error


def _text(value: Any, name: str) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"its {name!r} is no JSON ({error}). Correct or remove the record.") from error
    if wrong := unsound(text):
        raise UserError(f"its {name!r} {wrong}. Correct or remove the record.")
    return text


def media_in(message: Mapping[str, Any]) -> str:
    """Names what belongs to a message that no text says: ``"images"``, say; ``""`` for nothing."""
    for key, what in MEDIA.items():
        if key in message and not empty(message[key]) and yes_or_no(message[key]) is not False:
            return what
    content = message.get("content", message.get("value"))
    if isinstance(content, list | tuple):
        for part in content:
            kind = str(part.get("type", "")) if isinstance(part, Mapping) else ""
            for word, what in (("image", "images"), ("video", "videos"), ("audio", "sound")):
                if word in kind or (isinstance(part, Mapping) and not kind and not empty(part.get(word))):
                    return what
    return ""
