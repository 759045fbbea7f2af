"""A vocabulary of a closed list of words, for small worlds (``WordVocabulary``)."""

import hashlib
import re
import string
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from flan_jax.data.tokenizers.base import BaseVocabulary
from flan_jax.data.tokenizers.encoding import content_ids
from flan_jax.data.tokenizers.protocol import EOS_ID, FIRST_FREE_ID, PAD_ID, UNK_ID
from flan_jax.errors import UserError

# A word keeps an inner apostrophe ("don't") and a number its inner separators ("3.5", "10:30");
# any other mark is a token by itself.
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+(?:[.,:]\d+)*|[^\w\s]|_")
_NO_SPACE_BEFORE = set(".,;:!?)]}%")
_NO_SPACE_AFTER = set("([{")


def split_words(text: str) -> list[str]:
    r"""Splits ``text`` into the tokens of a ``WordVocabulary``: lower case, marks apart.

    >>> split_words("Don't stop:\n at 3.5 (or so)!")
    ["don't", 'stop', ':', 'at', '3.5', '(', 'or', 'so', ')', '!']
    """
    return _WORD.findall(text.lower())


class WordVocabulary(BaseVocabulary):
    """A vocabulary of a closed list of words.

    Lower-cases; white space of every kind, newlines too, only separates, as it does in T5's
    SentencePiece model. Ids: 0 pad, 1 end of sequence, 2 unknown, then the ASCII punctuation
    marks (so that no template runs into an unknown one), then ``words`` in the order given.
    """

    pad_id = PAD_ID
    eos_id = EOS_ID
    special_tokens: Mapping[str, int] = MappingProxyType({"</s>": EOS_ID})

    def __init__(self, words: Iterable[str], name: str = "words") -> None:
        """Builds the vocabulary; a word given twice, or in two cases, counts once.

        Raises:
            UserError: an entry that is not exactly one word or mark.
        """
        self.name = name
        self.unk_id: int | None = UNK_ID
        tokens = dict.fromkeys(string.punctuation)
        for word in words:
            pieces = split_words(word)
            if len(pieces) != 1 or pieces[0] != word.lower():
                raise UserError(
                    f"Vocabulary {name!r}: {word!r} is not one word but {pieces}. Give its words one by one."
                )
            tokens[pieces[0]] = None
        self._tokens = ("<pad>", "</s>", "<unk>", *tokens)
        self._ids = {token: index for index, token in enumerate(self._tokens) if index >= FIRST_FREE_ID}

    @classmethod
    def from_texts(cls, texts: Iterable[str], name: str = "words") -> "WordVocabulary":
        """Builds a vocabulary of every word in ``texts``, in alphabetical order."""
        return cls(sorted({word for text in texts for word in split_words(text)}), name)

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self._tokens)

    @property
    def words(self) -> tuple[str, ...]:
        """Every token of text, marks first, in the order of the ids from 3."""
        return self._tokens[FIRST_FREE_ID:]

    def encode(self, text: str) -> list[int]:
        """Encodes the words of ``text``."""
        return [self._ids.get(word, UNK_ID) for word in split_words(text)]

    def pieces(self, text: str) -> list[str]:
        """Returns the word of each id of ``encode(text)``, unknown words as they are."""
        return split_words(text)

    def decode(self, ids: Iterable[int]) -> str:
        """Joins the words with single spaces, closing marks set tight. Known words encode to the same ids again.

        An id outside the vocabulary, which a network with a padded table may write, reads as
        unknown.
        """
        kept = content_ids(ids, pad_id=PAD_ID, eos_id=EOS_ID)
        tokens = [self._tokens[i if 0 <= i < self.size else UNK_ID] for i in kept]
        text = ""
        before = ""
        for token in tokens:
            tight = not text or token in _NO_SPACE_BEFORE or before in _NO_SPACE_AFTER
            text += token if tight else " " + token
            before = token
        return text

    def fingerprint(self) -> str:
        """Digests the token list and the rule that splits words; hexadecimal."""
        parts = ("words", _WORD.pattern, *self._tokens)
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
