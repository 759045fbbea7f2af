"""Whether a chat template writes what a conversation says: some drop reasoning, and some a whole turn."""

import dataclasses
from collections.abc import Sequence

from flan_jax.data.chat.templates import ChatTemplate, Marked
from flan_jax.errors import UserError
from flan_jax.tasks.chat.conversation import ASSISTANT, Message

_SHOWN = 60
_PROBE = "qzx"


def rewritten_messages(template: ChatTemplate, messages: Sequence[Message], tools: str, marked: Marked) -> list[int]:
    """Indices of the messages that the text does not have as they are, white space around them aside.

    A reply that is not learned may be shortened, as some templates do with earlier thoughts.

    Args:
        template: made the text.
        messages: the conversation.
        tools: that the assistant may call, as JSON text.
        marked: its text, with what the assistant says in it.

    Raises:
        UserError: nothing at all is left of a reply.
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
    """Whether a reply's place holds more than stands there around another word."""
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
