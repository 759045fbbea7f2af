"""Puts templated tasks inside a chat template: a rendered input is the user's turn, its target the assistant's reply.

A prompt is what the template makes of the user's turn with the prompt for a reply (transformers'
``apply_chat_template(…, add_generation_prompt=True)``), and a reply is what it writes from there on: the words, and
what ends the turn. Words of a reply are read behind the prompt, as the template joins them, so that training, ranking
of options and generation see the same tokens.
"""

import functools

import numpy as np

from flan_jax.data.chat.templates import ChatTemplate, Marked
from flan_jax.data.chat.tokenize import ChatTokenizer
from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.errors import UserError
from flan_jax.tasks.chat.conversation import ASSISTANT, USER, Message

_QUESTION, _ANSWER = "Well?", "Well."
_CACHED = 4096


class ChatPrompts:
    """Encodes prompts and replies of templated tasks.

    Args:
        template: the chat template.
        vocabulary: text to ids.

    Attributes:
        end: [length] int32, what ends the assistant's turn; a reply is learned with it, and generation stops at it.

    Raises:
        UserError: the template refuses a user's turn with its reply, does not write the reply, or does not end it.
    """

    def __init__(self, template: ChatTemplate, vocabulary: Vocabulary) -> None:
        self._template = template
        self._tokenizer = ChatTokenizer(template, vocabulary)
        self._vocabulary = vocabulary
        prompt, reply, end = self._tokenizer.template.split_exchange(*_turns(_QUESTION, _ANSWER))
        if not end.strip():
            raise UserError(
                f"Chat template {template.name!r} ends no reply of the assistant's, so a model would not learn from it to "
                "stop. Choose one that writes the end of a turn."
            )
        self._prompt = prompt
        self._question_ids: np.ndarray = self._ids(prompt)
        self.end: np.ndarray = self._ids(prompt + reply + end)[len(self._ids(prompt + reply)) :]
        self.reply = functools.lru_cache(maxsize=_CACHED)(self._reply)

    def __reduce__(self) -> tuple[type["ChatPrompts"], tuple[ChatTemplate, Vocabulary]]:
        return ChatPrompts, (self._template, self._vocabulary)

    def prompt(self, text: str) -> np.ndarray:
        """Encodes the prompt for a reply to ``text``, [length] int32."""
        return self._tokenizer.prompt([Message(USER, text)])

    def prompt_within(self, text: str, room: int) -> np.ndarray:
        """Encodes the prompt with as much of the beginning of ``text`` as fits ``room`` tokens.

        Raises:
            UserError: not even the first of its tokens fits.
        """
        cut = self.prompt(text)
        ids = self._vocabulary.encode(text)
        kept = len(ids)
        while len(cut) > room:
            kept -= max(1, len(cut) - room)
            words = self._vocabulary.decode(ids[:kept]) if kept > 0 else ""
            if not words.strip():
                raise UserError(
                    f"The length of the inputs is {room} tokens, of which chat template {self._template.name!r} takes "
                    f"{self.overhead}, so nothing fits. Raise it."
                )
            cut = self.prompt(words)
        return cut

    @functools.cached_property
    def overhead(self) -> int:
        """Tokens around a user's words, approximately."""
        return len(self._question_ids) - len(self._vocabulary.encode(_QUESTION))

    def _reply(self, text: str) -> np.ndarray:
        """Encodes the words of a reply, without the end of its turn, [length] int32."""
        prompt, reply, _ = self._tokenizer.template.split_exchange(*_turns(_QUESTION, text))
        whole = self._ids(prompt + reply, len(prompt)) if prompt == self._prompt else np.zeros(0, np.int32)
        start = len(self._question_ids)
        if len(whole) > start and np.array_equal(whole[:start], self._question_ids):
            return whole[start:]
        return self._ids(reply)  # a token of the prompt and one of the words would become one

    def _ids(self, text: str, cut: int = 0) -> np.ndarray:
        """Encodes a text that the template wrote; a tokenizer without offsets encodes prompt and reply apart."""
        spans = ((cut, len(text)),) if cut else ()
        return self._tokenizer.encode([Marked(text, spans)])[0].ids


def _turns(question: str, answer: str) -> tuple[Message, Message]:
    return Message(USER, question), Message(ASSISTANT, answer)
