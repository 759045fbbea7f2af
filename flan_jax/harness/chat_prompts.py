"""Conversations of the harness, few-shot examples as turns among them, as the text of a prompt."""

import logging
from collections.abc import Mapping, Sequence

from flan_jax.data.chat.templates import ChatTemplate
from flan_jax.errors import UserError
from flan_jax.tasks.chat.conversation import SYSTEM, Message

_LOG = logging.getLogger(__name__)


def render_chat(
    template: ChatTemplate, turns: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True
) -> str:
    """Renders turns as text.

    Args:
        template: of the model.
        turns: each with ``role`` and ``content``.
        add_generation_prompt: end with what makes the assistant speak; else the last turn is the beginning of what it says,
            and the text ends there.

    Raises:
        UserError: the template refuses the turns, without a system's message too.
    """
    messages = [Message(turn["role"], turn["content"]) for turn in turns]
    try:
        text = template.render(messages, add_generation_prompt=add_generation_prompt)
    except UserError:
        without = [message for message in messages if message.role != SYSTEM]
        if len(without) == len(messages):
            raise
        text = template.render(without, add_generation_prompt=add_generation_prompt)
        _LOG.warning("Chat template %r takes no system message, so prompts are without it.", template.name)
    return text if add_generation_prompt else _up_to(text, turns[-1]["content"], template)


def _up_to(text: str, last: str, template: ChatTemplate) -> str:
    """Cuts what the template writes behind the last turn's words; white space at their end stays where the template keeps it."""
    words = last.strip()
    begin = text.rfind(words)
    if begin < 0:
        raise UserError(
            f"Chat template {template.name!r} does not write the last turn {last[:40]!r} as it is, so it cannot be gone on from."
        )
    kept = last.lstrip()
    return text[: begin + len(kept if text.startswith(kept, begin) else words)]
