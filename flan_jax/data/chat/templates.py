"""Chat templates: render a conversation as one text, with the spans of what the assistant says (``ChatTemplate``).

A template is Jinja text, as published tokenizers carry it, and is run in a sandbox with what
transformers gives it: ``messages``, ``add_generation_prompt``, the special tokens by name, ``raise_exception``,
``tojson``, ``strftime_now`` and the tag ``{% generation %}``. Our own are ``plain`` and ``chatml``.

What the assistant said is what stands between ``{% generation %}`` and ``{% endgeneration %}``. A
template without these marks is asked twice for every reply: for the messages before it, with the
prompt for one more, and for the messages up to it; the difference is the reply. Where the prompt goes on otherwise than
the reply (``<think>`` before a reply without thoughts), the reply is what follows behind all that they have in common.

What a conversation says beside its words, which are tools, calls of them and thoughts, is given to the template too;
a template that writes nothing of it is refused, as the model would learn from something else than the record says.

``strftime_now`` gives the same day on every day: tokens that are prepared once must not depend on when.
"""

import dataclasses
import functools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flan_jax.data.sources.base import digest, resolve
from flan_jax.data.sources.json_files import load_json
from flan_jax.data.tokenizers.encoding import BEGIN, END, GUARD
from flan_jax.errors import UserError, unknown
from flan_jax.tasks.chat.conversation import ASSISTANT, Message

# Characters that Unicode keeps free for such a use; a message that has one is refused.
EOS_MARK, BOS_MARK = "\ufdd2", "\ufdd3"
_MARKS = re.compile(f"[{BEGIN}{END}]")
_RESERVED = re.compile("[\ufdd0-\ufdd5]")
_GENERATION = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")
_REASONING = ("thinking", "reasoning_content")  # where transformers puts thoughts
_KEY = re.compile(r"""(?:\.|\[\s*['"]|\bget\(\s*['"])(thinking|reasoning_content|reasoning)\b""")
_PART_OF_TAG = re.compile(r"<[^<>]*$")
_DAY = "2024-07-26"

Span = tuple[int, int]
"""Positions of the first character and of the one after the last."""


class Marked(NamedTuple):
    """A rendered conversation.

    Attributes:
        text: all of it.
        spans: what the assistant says, in order.
    """

    text: str
    spans: tuple[Span, ...]


class UnstablePrefixError(UserError):
    """A template that writes the beginning of a conversation otherwise once more turns follow."""


@dataclasses.dataclass(frozen=True)
class ChatTemplate:
    """A chat template.

    Attributes:
        name: what errors call it.
        text: Jinja.
        special_tokens: names such as ``eos_token`` with their texts.
        variables: further values that the template reads, such as ``("enable_thinking", False)``.
        today: the day that ``strftime_now`` formats, as YYYY-MM-DD.
        guarded: special tokens. Where a message spells one, ``GUARD`` stands behind its first
            character in what ``marked`` returns, so that only the template's own are read as such.
    """

    name: str
    text: str
    special_tokens: tuple[tuple[str, str], ...] = ()
    variables: tuple[tuple[str, Any], ...] = ()
    today: str = _DAY
    guarded: tuple[str, ...] = ()

    @property
    def marks_replies(self) -> bool:
        """True where it marks with ``{% generation %}`` what the assistant says."""
        return _GENERATION.search(self.text) is not None

    def fingerprint(self) -> str:
        """Digests what the text of a conversation depends on; hexadecimal."""
        return digest(self.text, self.special_tokens, self.variables, self.today)

    def with_marks(self) -> "ChatTemplate":
        """Returns the template with ``EOS_MARK`` and ``BOS_MARK`` in the places of these two special tokens.

        For a vocabulary whose ``encode`` never returns a special id: where a token stands is then
        told apart from a message that has the same characters, such as HTML's ``<s>``.
        """
        text, special = self.text, dict(self.special_tokens)
        for name, mark in (("eos_token", EOS_MARK), ("bos_token", BOS_MARK)):
            if special.get(name):
                text = text.replace(special[name], mark)
            special[name] = mark
        return dataclasses.replace(self, text=text, special_tokens=tuple(special.items()))

    def render(self, messages: Sequence[Message], *, tools: str = "", add_generation_prompt: bool = False) -> str:
        """Renders messages as text.

        Args:
            messages: in order.
            tools: that may be called, as JSON text of a list; ``""`` for none.
            add_generation_prompt: end with what makes the assistant speak.

        Raises:
            UserError: the template cannot be parsed, or refuses the messages.
        """
        return _MARKS.sub("", self._render(messages, tools, add_generation_prompt)).replace(GUARD, "")

    def marked(self, messages: Sequence[Message], *, tools: str = "", add_generation_prompt: bool = False) -> Marked:
        """Renders messages, with the spans of the assistant's replies that have loss.

        A span that the template does not mark itself ends with the marker of the turn's end, and
        not with white space behind it, which only separates turns.

        Raises:
            UserError: as ``render``; or the template writes nothing of the tools, calls or thoughts that there are.
            UnstablePrefixError: the text of the messages before a reply does not begin the text of all, so that one cannot
                tell what the reply is; or an earlier reply's thoughts are not written once others follow.
        """
        text = self._render(messages, tools, add_generation_prompt)
        marked = _between_marks(text, self) if self.marks_replies else Marked(text, ())
        self._check_written(messages, tools, marked.text, add_generation_prompt)
        if self.marks_replies:
            return Marked(marked.text, self._trained_spans(messages, marked.spans))
        learned = [i for i, message in enumerate(messages) if message.role == ASSISTANT and message.trained]
        return Marked(text, tuple(self._reply_span(messages, tools, index, text) for index in learned))

    def split_exchange(self, question: Message, answer: Message) -> tuple[str, str, str]:
        """Splits a rendered exchange into the prompt for the reply, the reply, and the end of its turn.

        Raises:
            UserError: the template refuses the turns, begins the whole otherwise than the prompt, or does not write the
                reply as it is.
        """
        before = _MARKS.sub("", self._render([question], "", True))
        whole = _MARKS.sub("", self._render([question, answer], "", False))
        if not whole.startswith(before):
            raise self._error("what it makes of a user's turn is not how it begins that turn with its reply")
        reply = whole[len(before) :]
        words = self.guard(answer.content).strip()
        head, found, tail = reply.rpartition(words)
        if not found:
            raise self._error(f"it does not write the reply {answer.content[:40]!r} as it is")
        return before, head + found, tail.rstrip()

    def _trained_spans(self, messages: Sequence[Message], spans: tuple[Span, ...]) -> tuple[Span, ...]:
        """Selects the spans of replies with loss from those that the template marks."""
        replies = [message for message in messages if message.role == ASSISTANT]
        if all(message.trained for message in replies):
            return spans
        if len(spans) != len(replies):
            raise self._error(
                f"it marks {len(spans)} parts as said by the assistant in a conversation of {len(replies)} replies, so one "
                "cannot tell which of them are not to be learned"
            )
        return tuple(span for span, message in zip(spans, replies, strict=True) if message.trained)

    def _check_written(self, messages: Sequence[Message], tools: str, text: str, prompted: bool) -> None:
        """Refuses to lose tools, tool calls, or the reasoning of a reply with loss."""
        if tools and self._without(messages, "", prompted) == text:
            raise self._error("it writes nothing of the conversation's tools. Choose a template that takes tools")
        if any(message.calls for message in messages):
            silent = [
                dataclasses.replace(m, calls="", content=m.content or "\ufffc") if m.calls else m for m in messages
            ]
            if self._without(silent, tools, prompted).replace("\ufffc", "") == text:
                raise self._error("it writes nothing of the calls of tools. Choose a template that takes tools")
        for index, message in enumerate(messages):
            if message.reasoning and message.trained and self.guard(message.reasoning).strip() not in text:
                what = f"it does not write the thoughts before reply {index}"
                if index < len(messages) - 1:
                    raise UnstablePrefixError(f"Chat template {self.name!r}: {what} once more turns follow.")
                raise self._error(f"{what}. Choose a template that does, or remove them from the record")

    def _without(self, messages: Sequence[Message], tools: str, prompted: bool) -> str:
        """Renders a conversation without a part of it; ``""`` where the template refuses it."""
        try:
            return _MARKS.sub("", self._render(messages, tools, prompted))
        except UserError:
            return ""

    def _reply_span(self, messages: Sequence[Message], tools: str, index: int, whole: str) -> Span:
        before = self._render(messages[:index], tools, True)
        until = self._render(messages[: index + 1], tools, False)
        if index == len(messages) - 1:
            until = whole
        if not until.startswith(before):
            before = self._common_start(messages, tools, index, before, until)
        if not until.startswith(before) or not whole.startswith(until) or len(until) == len(before):
            raise UnstablePrefixError(
                f"Chat template {self.name!r}: what it makes of the messages before reply {index} is not how it begins the whole conversation, so the "
                "reply cannot be told from the rest. Put {% generation %} and {% endgeneration %} around what the assistant says."
            )
        reply = until[len(before) :]
        words = self.guard(messages[index].content).strip()
        tail = reply.rpartition(words)[2] if words else reply  # of a call of tools there may be no words
        # Where nothing but white space ends a turn, that is its marker.
        return len(before), len(before) + len(reply.rstrip() if tail.strip() else reply)

    def _common_start(self, messages: Sequence[Message], tools: str, index: int, prompt: str, until: str) -> str:
        """Returns what a prompt and the turn with its reply begin with alike, where the prompt is not all of the beginning.

        A prompt may end with ``<think>`` where a reply has no thoughts: it begins behind all that both have in common, but
        for parts of tags and the assistant's own words.
        """
        history, message = self._render(messages[:index], tools, False), messages[index]
        if not until.startswith(history):
            return prompt
        parts = next((at for at, (a, b) in enumerate(zip(prompt, until, strict=False)) if a != b), len(until))
        end = len(_PART_OF_TAG.sub("", until[:parts]))
        own = [self.guard(text).strip() for text in (message.reasoning, message.content)]
        starts = (until.find(text, len(history)) for text in own if text)
        return until[: max(len(history), min([end, *(at for at in starts if at >= 0)]))]

    def _render(self, messages: Sequence[Message], tools: str, add_generation_prompt: bool) -> str:
        import jinja2

        from flan_jax.data.chat.sandbox import clock, render_template

        for index, message in enumerate(messages):
            if found := _RESERVED.search(message.content + message.reasoning + message.calls):
                raise UserError(
                    f"message {index} has the character U+{ord(found[0]):04X}, which stands for no letter and is used as a mark here. Remove it."
                )
        try:
            given = {
                "messages": [self._guarded(self._as_dict(message)) for message in messages],
                "add_generation_prompt": add_generation_prompt,
                "tools": self._guarded(json.loads(tools)) if tools else None,
                "documents": None,
                "strftime_now": clock(self.today),
            }
            return render_template(self.text, {**dict(self.special_tokens), **dict(self.variables), **given})
        except jinja2.TemplateSyntaxError as error:
            raise self._error(f"it is no valid Jinja ({error.message}, line {error.lineno})") from error
        except (
            jinja2.TemplateError,
            ArithmeticError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            RecursionError,
            MemoryError,
        ) as error:
            raise self._error(f"it refuses the conversation ({error or type(error).__name__})") from error

    def guard(self, content: str) -> str:
        """Puts ``GUARD`` into the special tokens that a message's text spells, as ``marked`` has it."""
        return _first_characters(self.guarded).sub(rf"\1{GUARD}", content) if self.guarded else content

    def _guarded(self, value: Any) -> Any:
        """Guards every text of a nested value."""
        if isinstance(value, str):
            return self.guard(value)
        if isinstance(value, dict):
            return {self.guard(key): self._guarded(item) for key, item in value.items()}
        return [self._guarded(item) for item in value] if isinstance(value, list) else value

    def _as_dict(self, message: Message) -> dict[str, Any]:
        """A message as the template takes it, thoughts wherever it may look for them."""
        return message.as_dict() | (dict.fromkeys(self._reasoning, message.reasoning) if message.reasoning else {})

    @functools.cached_property
    def _reasoning(self) -> tuple[str, ...]:
        """The keys at which the template finds reasoning."""
        read = {found[1] for found in _KEY.finditer(self.text)}
        return _REASONING if read & set(_REASONING) or not read else (*_REASONING, *read)

    def _error(self, what: str) -> UserError:
        return UserError(f"Chat template {self.name!r}: {what}.")


def _between_marks(text: str, template: ChatTemplate) -> Marked:
    plain: list[str] = []
    spans: list[Span] = []
    at = depth = start = 0
    for part in re.split(f"({_MARKS.pattern})", text):
        if part == BEGIN:
            start = start if depth else at
            depth += 1
        elif part == END:
            depth -= 1
            if not depth and at > start:
                spans.append((start, at))
        else:
            plain.append(part)
            at += len(part)
    if depth:
        raise template._error("a {% generation %} block loses its end on the way into the text")
    return Marked("".join(plain), tuple(spans))


@functools.lru_cache(maxsize=8)
def _first_characters(texts: tuple[str, ...]) -> re.Pattern[str]:
    """Compiles a pattern of the first character wherever one of ``texts`` begins."""
    return re.compile(f"(?=(?:{'|'.join(map(re.escape, texts))}))(.)", re.DOTALL)


# A speaker's name stands before each turn: T5's SentencePiece turns line ends into spaces. The end of the sequence
# stands where the assistant stops, and only there.
PLAIN = ChatTemplate(
    "plain",
    "{% for message in messages %}"
    "{% if message.role == 'assistant' %}"
    "Assistant:{% generation %} {{ message.content.lstrip('\\n').rstrip() }}{{ eos_token }}{% endgeneration %}{{ '\\n\\n' }}"
    "{% else %}"
    "{{ message.role | capitalize }}: {{ message.content.lstrip('\\n').rstrip() }}{{ '\\n\\n' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}",
    (("eos_token", "</s>"),),
)
"""``User: …``, ``Assistant: …``, a blank line between turns."""
CHATML = ChatTemplate(
    "chatml",
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}{{ '\\n' }}"
    "{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content.lstrip('\\n').rstrip() }}{{ eos_token }}{% endgeneration %}"
    "{% else %}"
    "{{ message.content.lstrip('\\n').rstrip() }}{{ eos_token }}"
    "{% endif %}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{% endif %}",
    (("eos_token", "<|im_end|>"),),
)
"""``<|im_start|>ROLE``, a line end, the message, ``<|im_end|>``, which ends the sequence."""
CHAT_TEMPLATES: Mapping[str, ChatTemplate] = {template.name: template for template in (PLAIN, CHATML)}

_CONFIG = "tokenizer_config.json"
_JINJA = "chat_template.jinja"


def load_chat_template(spec: str | Path | ChatTemplate) -> ChatTemplate:
    """Loads a chat template by name, from a folder or file, or from Jinja text.

    Args:
        spec: ``plain`` or ``chatml``; a folder of a transformers tokenizer, whose template is
            ``chat_template.jinja`` or stands in ``tokenizer_config.json``, special tokens with it; a
            ``*.jinja`` file; or Jinja itself. A relative path is looked for in the working
            directory, then in the data folder.

    Raises:
        UserError: none of these, or a folder without a template.
    """
    if isinstance(spec, ChatTemplate):
        return spec
    name = str(spec)
    if name in CHAT_TEMPLATES:
        return CHAT_TEMPLATES[name]
    if "{%" in name or "{{" in name:
        return ChatTemplate("given as text", name)
    path = Path(name).expanduser()
    path = path if path.exists() else resolve(path)
    if path.is_dir():
        return _load_folder(path)
    if path.is_file():
        return ChatTemplate(path.name, _read(path))
    raise unknown(
        "chat template", name, CHAT_TEMPLATES, remedy="Or give a tokenizer's folder, a *.jinja file, or Jinja text."
    )


def _load_folder(folder: Path) -> ChatTemplate:
    config = load_json(folder / _CONFIG) if (folder / _CONFIG).is_file() else {}
    text = config.get("chat_template") if isinstance(config, dict) else None
    if (folder / _JINJA).is_file():
        text = _read(folder / _JINJA)
    if isinstance(text, list):  # several, by name
        named = {one.get("name"): one.get("template") for one in text if isinstance(one, dict)}
        text = named.get("default")
    if not isinstance(text, str) or not text:
        raise UserError(
            f"{str(folder)!r} has no chat template, neither {_JINJA} nor 'chat_template' in {_CONFIG}. "
            f"Choose one of ours: {', '.join(CHAT_TEMPLATES)}."
        )
    special = {}
    for name, value in config.items():
        content = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(content, str):
            special[name] = content
    return ChatTemplate(folder.name, text, tuple(sorted(special.items())))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read the chat template {str(path)!r} ({error}).") from error
