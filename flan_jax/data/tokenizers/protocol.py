"""The protocol of vocabularies (``Vocabulary``), and functions over any of them: encoding and checks of ids.

No vocabulary here appends the end-of-sequence id; whoever trims to a length does.
"""

import numbers
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from flan_jax.errors import UserError

PAD_ID, EOS_ID, UNK_ID = 0, 1, 2
"""T5's ids, which a vocabulary has where it leaves a choice."""
FIRST_FREE_ID = 3


@runtime_checkable
class Vocabulary(Protocol):
    """A tokenizer: text to ids and back, with the ids of padding, end of sequence and unknown text.

    One of your own subclasses ``BaseVocabulary``, which has all that few tokenizers know. One that does not is adapted
    where it comes in (``as_vocabulary``).
    """

    @property
    def name(self) -> str:
        """A short name for people."""

    @property
    def size(self) -> int:
        """Number of ids; every id is smaller."""

    @property
    def pad_id(self) -> int:
        """The id that fills up a row; ``encode`` never returns it."""

    @property
    def eos_id(self) -> int:
        """The id that ends a sequence; ``encode`` never returns it."""

    @property
    def unk_id(self) -> int | None:
        """The id of what the vocabulary cannot spell, or ``None``."""

    @property
    def bos_id(self) -> int | None:
        """The id that begins a sequence, where the tokenizer declares one; nothing here adds it."""

    @property
    def adds_bos(self) -> bool | None:
        """True where the tokenizer's own rules put ``bos_id`` in front of a text; ``None`` where none says."""

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """The ids of special tokens by their texts, which ``encode`` never reads."""

    @property
    def path(self) -> Path | None:
        """The folder or file that it was read from, or ``None``."""

    @property
    def has_offsets(self) -> bool:
        """True where ``encode_offsets`` is written."""

    def encode(self, text: str) -> list[int]:
        """Encodes ``text``, without the end-of-sequence id."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes each text as ``encode`` does, faster where the tokenizer has a batched call."""

    def encode_arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Encodes each text, [length] integers; faster where the tokenizer gives arrays."""

    def encode_offsets(self, text: str) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
        """Encodes ``text``, special tokens in it read as such; returns ids and the first and last (exclusive) character of each.

        A special token with ``encoding.GUARD`` behind its first character is plain text, where ``special_tokens`` has it.

        Raises:
            NotImplementedError: ``has_offsets`` is false.
        """

    def pieces(self, text: str) -> list[str]:
        """Returns the piece of each id of ``encode(text)``, for people."""

    def decode(self, ids: Iterable[int]) -> str:
        """Decodes ``ids`` up to the first end-of-sequence id, without padding."""

    def fingerprint(self) -> str:
        """Digests everything that changes what ``encode`` returns; hexadecimal."""


_PROBE = string.printable
"""A text that every vocabulary should encode, to check one before anything is written."""


def check_special_ids(vocabulary: Vocabulary) -> None:
    """Refuses a vocabulary whose special ids would make rows that cannot be told apart.

    Raises:
        UserError: the end-of-sequence or padding id is missing, negative, not below the size, or
            the other one; or ``encode`` returns one of them, or an id that is not below the size.
    """
    where = f"Vocabulary {vocabulary.name!r}"
    for kind, index in (("end-of-sequence", vocabulary.eos_id), ("padding", vocabulary.pad_id)):
        if not isinstance(index, numbers.Integral) or not 0 <= index < vocabulary.size:
            raise UserError(
                f"{where} has the {kind} id {index!r}, but it must be a whole number from 0 to {vocabulary.size - 1}, "
                "one less than its size. Give it one that no text is encoded with."
            )
    if vocabulary.eos_id == vocabulary.pad_id:
        raise UserError(
            f"{where} has the same id, {vocabulary.eos_id}, for the end of a sequence and for padding, so a model could not "
            "learn to stop. Give it two."
        )
    check_ids(vocabulary, vocabulary.encode(_PROBE), f"the text {_PROBE[:10]!r}…")


def keeps_newlines(vocabulary: Vocabulary) -> bool:
    """Tells whether decoding returns line ends. T5's SentencePiece turns them into spaces."""
    return "\n" in vocabulary.decode(vocabulary.encode("a\nb"))


def encode_with_special_tokens(vocabulary: Vocabulary, text: str) -> list[int]:
    """Encodes a text of a configuration, in which special tokens that it names are read as such.

    Text of data is never read so. A vocabulary names its special tokens in ``special_tokens``, or reads them by itself in
    ``encode_offsets``.

    >>> from flan_jax.data.tokenizers.bytes import ByteVocabulary
    >>> encode_with_special_tokens(ByteVocabulary(), "a</s>")
    [100, 1]
    """
    if vocabulary.has_offsets:
        return [int(index) for index in vocabulary.encode_offsets(text)[0]]
    special = vocabulary.special_tokens
    if not special:
        return vocabulary.encode(text)
    ids: list[int] = []
    for part in re.split(f"({'|'.join(map(re.escape, sorted(special, key=len, reverse=True)))})", text):
        ids += [special[part]] if part in special else vocabulary.encode(part) if part else []
    return ids


def check_ids(vocabulary: Vocabulary, ids: Iterable[int], what: str) -> None:
    """Refuses ids that encoded text must not have.

    Raises:
        UserError: an id that is negative, not below the size, or a special one.
    """
    for index in ids:
        if not 0 <= index < vocabulary.size or index in (vocabulary.eos_id, vocabulary.pad_id):
            raise UserError(
                f"Vocabulary {vocabulary.name!r} encodes {what} with the id {index}, but an id of text is from 0 to "
                f"{vocabulary.size - 1}, and neither its end-of-sequence id ({vocabulary.eos_id}) nor its padding id "
                f"({vocabulary.pad_id}). Correct the vocabulary."
            )
