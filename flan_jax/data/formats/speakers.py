"""Maps the speakers of published data to roles: user, assistant, system or tool."""

import re
from typing import Any

from flan_jax.errors import unknown
from flan_jax.tasks.chat.conversation import ASSISTANT, SYSTEM, TOOL, USER

_NAMES = {
    SYSTEM: "system developer sys",
    USER: "user human prompter usr instruction input question questioner customer client",
    ASSISTANT: "assistant gpt bot chatbot chatgpt ai ai_assistant model llm agent output response answer answerer "
    "function_call function_calls tool_call tool_calls",
    TOOL: "tool tools function observation ipython environment function_response function_result function_output "
    "tool_response tool_responses tool_result tool_results tool_output",
}
ROLES = {name: role for role, names in _NAMES.items() for name in names.split()}
"""Name of a speaker, in small letters and with underscores → the role."""

_MODELS = re.compile(
    r"(?:bing|bard|claude|gemini|gemma|gpt|chatgpt|openai|copilot|llama|codellama|mistral|mixtral|qwen|deepseek|palm|grok|"
    r"vicuna|alpaca|koala|wizardlm|zephyr|falcon|dolly|oasst|openassistant|you)(?:[_.]?v?\d[\w.]*|_[\w.]+)?"
)
"""Assistants by their own names, as logs of chats have them, with their versions."""
_CALLERS = frozenset(("function_call", "function_calls", "tool_call", "tool_calls"))


def role_or_none(name: Any) -> str | None:
    """The role of a speaker; ``None`` where no speaker of that name is known.

    >>> role_or_none(" Human"), role_or_none("gpt-4"), role_or_none("tool-response"), role_or_none("narrator")
    ('user', 'assistant', 'tool', None)
    """
    if not isinstance(name, str):
        return None
    plain = _plain(name)
    return ROLES.get(plain) or (ASSISTANT if _MODELS.fullmatch(plain) else None)


def role_of(name: Any) -> str:
    """The role of a speaker.

    Raises:
        UserError: no speaker of that name is known.
    """
    role = role_or_none(name)
    if role is None:
        raise unknown("speaker", str(name)[:60], ROLES)
    return role


def calls(name: Any) -> bool:
    """Whether what this speaker says is a call of tools, written as JSON."""
    return isinstance(name, str) and _plain(name) in _CALLERS


def _plain(name: str) -> str:
    return re.sub(r"[-\s]+", "_", name.strip().lower())
