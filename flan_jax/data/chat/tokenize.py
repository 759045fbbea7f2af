"""Encodes conversations, with a loss mask over the tokens of what the assistant says (``ChatTokenizer``).

A tokenizer that knows where its tokens stand gives ids and places of the whole text
(``encode_offsets``). The text then holds special tokens as its template writes
them, and a token belongs to a reply if it has a character of it. Where such a vocabulary names its
special tokens (``special_tokens``), a message that spells one keeps it as text, and a template that
ends replies with a token that is not among them, as ours may, ends them with the vocabulary's own.

Any other vocabulary gets the text in pieces, cut where a reply begins and ends, each encoded by
itself; special tokens stand between pieces. A model that answers a prompt reads it cut in just this
way. The end-of-sequence token becomes the vocabulary's own; one that begins a sequence is left out,
as rows begin every example by themselves. It stays where the vocabulary says that a text has none by
itself (``adds_bos``): a model that goes with it reads none either unless it is written.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flan_jax.data.chat.templates import BOS_MARK, EOS_MARK, ChatTemplate, Marked
from flan_jax.data.chat.unwritten_parts import rewritten_messages
from flan_jax.data.tokenizers.protocol import Vocabulary, check_ids
from flan_jax.errors import UserError
from flan_jax.tasks.chat.conversation import Message

_SPECIAL = re.compile(f"([{EOS_MARK}{BOS_MARK}])")


OnRewritten = Callable[[int, Sequence[int]], None]
"""Called with the number of a conversation, and which of its messages the template does not write as they are."""


class Tokens(NamedTuple):
    """An encoded conversation.

    Attributes:
        ids: [length] int32.
        mask: [length] uint8, 1 for what the assistant says.
    """

    ids: np.ndarray
    mask: np.ndarray


class ChatTokenizer:
    """Encodes messages with a template and a vocabulary.

    Args:
        template: renders the text.
        vocabulary: text to ids.
    """

    def __init__(self, template: ChatTemplate, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.knows_end = not vocabulary.has_offsets or bool(vocabulary.special_tokens)
        if not vocabulary.has_offsets:
            self.template = template.with_marks()
        else:
            self.template = _with_vocabulary_tokens(template, vocabulary) if self.knows_end else template

    def __call__(
        self,
        conversations: Sequence[Sequence[Message]],
        tools: Sequence[str] = (),
        on_rewritten: OnRewritten | None = None,
    ) -> list[Tokens | UserError]:
        """Encodes each conversation, or returns its error.

        Args:
            conversations: messages in order.
            tools: of each conversation, as JSON text; none have any unless it is given.
            unsaid_of: see ``OnRewritten``.

        Errors are a conversation that the template refuses, one in which nothing or everything is said by the
        assistant, since a loss over none of it, or over all, is not what anybody meant, and one with a reply of which
        nothing is written.
        """
        made: list[Tokens | UserError] = []
        marked: list[Marked | UserError] = []
        for number, (messages, own) in enumerate(zip(conversations, tools or itertools.repeat(""), strict=False)):
            try:
                text = self.template.marked(messages, tools=own)
                if (missing := rewritten_messages(self.template, messages, own, text)) and on_rewritten is not None:
                    on_rewritten(number, missing)
                marked.append(text)
            except UserError as error:
                marked.append(error)
        encode = iter(self.encode([one for one in marked if isinstance(one, Marked)]))
        for one in marked:
            tokens = one if isinstance(one, UserError) else next(encode)
            made.append(tokens if isinstance(tokens, UserError) else self._checked(tokens))
        return made

    def prompt(self, messages: Sequence[Message], tools: str = "") -> np.ndarray:
        """Encodes the prompt for the assistant's answer to the messages, [length] int32.

        Raises:
            UserError: the template refuses the messages.
        """
        text = self.template.marked(_without_loss(messages), tools=tools, add_generation_prompt=True)
        return self.encode([text])[0].ids

    def _checked(self, tokens: Tokens) -> Tokens | UserError:
        in_reply = int(np.count_nonzero(tokens.mask))
        if 0 < in_reply < len(tokens.ids):
            return tokens
        return UserError(
            f"Chat template {self.template.name!r}: it marks {'all' if in_reply else 'none'} of the conversation's "
            f"{len(tokens.ids)} tokens as said by the assistant. Put {{% generation %}} and {{% endgeneration %}} around "
            "what the assistant says, and nothing else."
        )

    def encode(self, texts: Sequence[Marked]) -> list[Tokens]:
        """Encodes texts that the template wrote."""
        if self.vocabulary.has_offsets:
            return [_encode_by_offsets(self.vocabulary, text) for text in texts]
        pieces = [list(_pieces(text)) for text in texts]
        plain = [piece for one in pieces for piece, _ in one if piece != EOS_MARK]
        arrays = iter(self.vocabulary.encode_arrays(plain))
        end = np.array([self.vocabulary.eos_id], np.int32)
        return [
            _joined(
                [
                    (end if piece == EOS_MARK else self._check_text_ids(next(arrays), piece), in_reply)
                    for piece, in_reply in one
                ]
            )
            for one in pieces
        ]

    def _check_text_ids(self, ids: np.ndarray, piece: str) -> np.ndarray:
        vocabulary = self.vocabulary
        special = (ids == vocabulary.pad_id) | (ids == vocabulary.eos_id)
        if special.any() or (ids < 0).any() or (ids >= vocabulary.size).any():
            check_ids(vocabulary, ids.tolist(), f"the text {piece[:40]!r}")
        return ids


def _without_loss(messages: Sequence[Message]) -> list[Message]:
    """Returns the messages without loss: a prompt has none."""
    return [dataclasses.replace(message, trained=False) for message in messages]


def _pieces(text: Marked) -> Iterator[tuple[str, bool]]:
    """Yields (text or ``EOS_MARK``, whether the assistant says it)."""
    at = 0
    for start, end in (*text.spans, (len(text.text), len(text.text))):
        for first, last, in_reply in ((at, start, False), (start, end, True)):
            for piece in _SPECIAL.split(text.text[first:last]):
                if piece and piece != BOS_MARK:
                    yield piece, in_reply
        at = end


def _joined(parts: Sequence[tuple[np.ndarray, bool]]) -> Tokens:
    ids = np.concatenate([np.zeros(0, np.int32), *(ids for ids, _ in parts)]).astype(np.int32)
    mask = np.repeat(np.array([in_reply for _, in_reply in parts], np.uint8), [len(ids) for ids, _ in parts])
    return Tokens(ids, mask)


def _with_vocabulary_tokens(template: ChatTemplate, vocabulary: Vocabulary) -> ChatTemplate:
    """Replaces the template's BOS and EOS tokens by the vocabulary's, where the vocabulary has no such tokens."""
    own = vocabulary.special_tokens
    special = dict(template.special_tokens)
    for name, index in (("eos_token", vocabulary.eos_id), ("bos_token", vocabulary.bos_id)):
        if special.get(name) not in own:
            special[name] = next((text for text, i in own.items() if i == index), "")
    return dataclasses.replace(template, special_tokens=tuple(special.items()), guarded=tuple(own))


def strips_bos(vocabulary: Vocabulary) -> bool:
    """Tells whether a BOS token that the template writes is left out."""
    return vocabulary.adds_bos is not False


def _encode_by_offsets(vocabulary: Vocabulary, text: Marked) -> Tokens:
    ids, offsets = vocabulary.encode_offsets(text.text)
    in_reply = np.zeros(len(text.text) + 1, np.int64)
    for start, end in text.spans:
        in_reply[start + 1 : end + 1] = 1
    before = np.cumsum(in_reply)  # characters of replies before each place
    places = np.array(offsets, np.int64).reshape(-1, 2)
    mask = before[places[:, 1]] > before[places[:, 0]]
    begins = strips_bos(vocabulary) and len(ids) > 0 and ids[0] == vocabulary.bos_id
    return Tokens(np.array(ids, np.int32)[begins:], mask.astype(np.uint8)[begins:])
