"""Finds messages that a chat template leaves out or rewrites: some drop reasoning, and some a whole turn."""

import dataclasses
from collections.abc import Sequence

from flan_jax.data.chat.templates import ChatTemplate, Marked
from flan_jax.errors import UserError
from flan_jax.tasks.chat.conversation import ASSISTANT, Message

_SHOWN = 60
_PROBE = "qzx"


def rewritten_messages(template: ChatTemplate, messages: Sequence[Message], tools: str, marked: Marked) -> list[int]:
    """Finds the messages that the rendered text does not have as they are, white space around them aside.

    A reply that is not learned may be shortened, as some templates do with earlier thoughts.

    Args:
        template: rendered the text.
        messages: the conversation.
        tools: that the assistant may call, as JSON text.
        marked: the rendered text, with the spans of what the assistant says.

    Returns:
        Indices of messages.

    Raises:
        UserError: nothing is left of a reply.
    """
    replies = "\n".join(marked.text[start:end] for start, end in marked.spans)
    missing = [
        index
        for index, message in enumerate(messages)
        if (message.role != ASSISTANT or message.trained)
        and template.guard(message.content.strip()) not in (replies if message.role == ASSISTANT else marked.text)
    ]
    for index in missing:
        message = messages[index]
        if (
            message.role == ASSISTANT
            and not message.calls
            and not _writes_reply(template, messages, tools, index, marked)
        ):
            raise UserError(
                f"chat template {template.name!r} writes nothing of reply {index} ({message.content.strip()[:_SHOWN]!r}), "
                "as some leave out what stands in <think>. Choose a template that writes it, or leave the conversation out"
            )
    return missing


def _writes_reply(template: ChatTemplate, messages: Sequence[Message], tools: str, index: int, marked: Marked) -> bool:
    """Tells whether the template writes more at a reply's place than it writes around another word."""
    probe = dataclasses.replace(messages[index], content=_PROBE)
    try:
        probed = template.marked([*messages[:index], probe, *messages[index + 1 :]], tools=tools)
    except UserError:
        return True
    number = sum(message.role == ASSISTANT and message.trained for message in messages[:index])
    if len(probed.spans) != len(marked.spans):
        return False
    if number >= len(marked.spans):
        return True
    (start, end), (probe_start, probe_end) = marked.spans[number], probed.spans[number]
    before, _, after = probed.text[probe_start:probe_end].partition(_PROBE)
    return bool(marked.text[start:end].removeprefix(before).removesuffix(after).strip())
