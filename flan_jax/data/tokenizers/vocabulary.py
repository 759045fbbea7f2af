"""Text to ids and back: one protocol, three vocabularies, names for them, and published ones by their files.

Ids follow T5 where the vocabulary leaves a choice: 0 pads, 1 ends a sequence, 2 is unknown.
No vocabulary here appends the end-of-sequence id; whoever trims to a length does.
"""

import functools
import hashlib
import numbers
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from flan_jax.data.sources.base import resolve
from flan_jax.data.tokenizers.encoding import content_ids, encoding_threads
from flan_jax.data.tokenizers.encoding import set_encoding_threads as set_encoding_threads  # also found here
from flan_jax.errors import UserError, unknown
from flan_jax.tasks.catalog import Registry

PAD_ID = 0
EOS_ID = 1
UNK_ID = 2
_FIRST_FREE_ID = 3


@runtime_checkable
class Vocabulary(Protocol):
    """What the rest of the project asks of a tokenizer."""

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

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``, without the end-of-sequence id."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """``[encode(text) for text in texts]``, faster where the tokenizer has a batched call."""

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``: stops at the first end-of-sequence id and skips padding."""

    def fingerprint(self) -> str:
        """Hexadecimal digest of everything that changes what ``encode`` returns."""


_PROBE = string.printable
"""A text that every vocabulary should manage, to try one out before anything is written."""


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
    """Whether a line end comes back from the ids. T5's SentencePiece turns it into a space."""
    return "\n" in vocabulary.decode(vocabulary.encode("a\nb"))


def encode_with_special_tokens(vocabulary: Vocabulary, text: str) -> list[int]:
    """Ids of a text that a user wrote into a configuration: special tokens that it names are read as such.

    Text of data never is read so. A vocabulary names its special tokens in a property ``special_tokens``, or reads
    them by itself in ``encode_offsets``.

    >>> encode_with_special_tokens(ByteVocabulary(), "a</s>")
    [100, 1]
    """
    offsets = getattr(vocabulary, "encode_offsets", None)
    if offsets is not None:
        return [int(index) for index in offsets(text)[0]]
    special: Mapping[str, int] = getattr(vocabulary, "special_tokens", {})
    if not special:
        return vocabulary.encode(text)
    ids: list[int] = []
    for part in re.split(f"({'|'.join(map(re.escape, sorted(special, key=len, reverse=True)))})", text):
        ids += [special[part]] if part in special else vocabulary.encode(part) if part else []
    return ids


def check_ids(vocabulary: Vocabulary, ids: Iterable[int], what: str) -> None:
    """Refuses ids that text must not have.

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


def encode_arrays(vocabulary: Vocabulary, texts: Sequence[str]) -> list[np.ndarray]:
    """Ids of each text as an array of its own, [length] integers.

    A vocabulary may have a method ``encode_arrays(texts)`` that saves the way by Python's lists.
    """
    own = getattr(vocabulary, "encode_arrays", None)
    return own(texts) if own else [np.array(ids, np.int32) for ids in vocabulary.encode_batch(texts)]


# A word keeps an inner apostrophe ("don't") and a number its inner separators ("3.5", "10:30");
# any other mark is a token by itself.
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+(?:[.,:]\d+)*|[^\w\s]|_")
_NO_SPACE_BEFORE = set(".,;:!?)]}%")
_NO_SPACE_AFTER = set("([{")


def split_words(text: str) -> list[str]:
    r"""The tokens of ``text`` as a ``WordVocabulary`` sees them: lower case, marks apart.

    >>> split_words("Don't stop:\n at 3.5 (or so)!")
    ["don't", 'stop', ':', 'at', '3.5', '(', 'or', 'so', ')', '!']
    """
    return _WORD.findall(text.lower())


class WordVocabulary:
    """A closed list of words for small worlds.

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
        self._ids = {token: index for index, token in enumerate(self._tokens) if index >= _FIRST_FREE_ID}

    @classmethod
    def from_texts(cls, texts: Iterable[str], name: str = "words") -> "WordVocabulary":
        """A vocabulary of every word that occurs in ``texts``, in alphabetical order."""
        return cls(sorted({word for text in texts for word in split_words(text)}), name)

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self._tokens)

    @property
    def words(self) -> tuple[str, ...]:
        """Every token that text can become, marks first, in the order of the ids from 3."""
        return self._tokens[_FIRST_FREE_ID:]

    def encode(self, text: str) -> list[int]:
        """Ids of the words of ``text``."""
        return [self._ids.get(word, UNK_ID) for word in split_words(text)]

    def pieces(self, text: str) -> list[str]:
        """What each id of ``encode(text)`` stands for, unknown words as they are."""
        return split_words(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """The words with single spaces, closing marks set tight. Known words encode to the same ids again.

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
        """Digest of the token list and of the rule that splits words."""
        parts = ("words", _WORD.pattern, *self._tokens)
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


class ByteVocabulary:
    """UTF-8 bytes in ByT5's layout: 0 pad, 1 end of sequence, 2 unknown, byte ``b`` at ``b + 3``."""

    name = "bytes"
    size = 256 + _FIRST_FREE_ID
    pad_id = PAD_ID
    eos_id = EOS_ID
    special_tokens: Mapping[str, int] = MappingProxyType({"</s>": EOS_ID})

    def __init__(self) -> None:
        self.unk_id: int | None = UNK_ID

    def encode(self, text: str) -> list[int]:
        """The bytes of ``text``, each moved up by three."""
        return [byte + _FIRST_FREE_ID for byte in text.encode()]

    def pieces(self, text: str) -> list[str]:
        """What each id of ``encode(text)`` stands for: a character of ASCII, or a byte of another."""
        return [chr(byte) if byte < 0x80 else f"<0x{byte:02X}>" for byte in text.encode()]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text."""
        return [self.encode(text) for text in texts]

    def encode_arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of each text, [length] int32."""
        return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) + _FIRST_FREE_ID for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the bytes; what is no byte, or no valid UTF-8, is left out."""
        kept = content_ids(ids, pad_id=PAD_ID, eos_id=EOS_ID)
        return bytes(i - _FIRST_FREE_ID for i in kept if _FIRST_FREE_ID <= i < self.size).decode(errors="ignore")

    def fingerprint(self) -> str:
        """A constant: the layout never changes."""
        return hashlib.sha256(b"bytes, ByT5 layout").hexdigest()


class SentencePieceVocabulary:
    """A SentencePiece model file with the ids that the model itself declares.

    Models differ. Where one has no padding id, its beginning-of-sequence id serves (a control
    piece that ``encode`` never returns); where it has neither, one id is added behind the last
    piece. Where it declares no end of sequence, a control piece ``</s>`` or ``[SEP]`` (ALBERT)
    serves.

    A control piece never comes from a text that spells its name, such as ``</s>`` in a record. A
    user-defined symbol does, wherever it stands: that is what SentencePiece has them for.
    """

    def __init__(self, path: str | Path) -> None:
        """Reads the model.

        Raises:
            UserError: no such file, not a SentencePiece model, or no end-of-sequence id.
        """
        import sentencepiece

        self.path = Path(path)
        self.name = self.path.name.removesuffix(".model")
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise UserError(
                f"Cannot read the SentencePiece model {str(path)!r} ({error.strerror}). Give the path of a *.model file."
            ) from error
        self._digest = hashlib.sha256(content).hexdigest()
        try:
            if not content:
                raise RuntimeError("the file is empty")
            self._processor: Any = sentencepiece.SentencePieceProcessor(model_proto=content)
        except RuntimeError as error:
            raise UserError(
                f"{str(path)!r} is not a SentencePiece model. Give a *.model file that SentencePiece trained."
            ) from error
        processor = self._processor
        self._pieces: int = processor.get_piece_size()
        self.eos_id: int = self._end_of_sequence()
        self.bos_id: int | None = processor.bos_id() if processor.bos_id() >= 0 else None
        self.unk_id: int | None = processor.unk_id() if processor.unk_id() >= 0 else None
        self.pad_id: int = next((i for i in (processor.pad_id(), processor.bos_id()) if i >= 0), self._pieces)
        self.size: int = max(self._pieces, self.pad_id + 1)

    def _end_of_sequence(self) -> int:
        processor = self._processor
        if processor.eos_id() >= 0:
            return int(processor.eos_id())
        for piece in ("</s>", "[SEP]"):
            index = int(processor.piece_to_id(piece))
            if 0 <= index < self._pieces and processor.is_control(index) and processor.id_to_piece(index) == piece:
                return index
        raise UserError(
            f"The SentencePiece model {str(self.path)!r} has no end-of-sequence id, which a target needs. "
            "Train it with --eos_id=1 or choose another model."
        )

    @functools.cached_property
    def special_tokens(self) -> Mapping[str, int]:
        """Ids of the control pieces by their texts, but for the one that pads."""
        processor = self._processor
        controls = (i for i in range(self._pieces) if processor.is_control(i) and i != self.pad_id)
        return {str(processor.id_to_piece(index)): index for index in controls}

    def encode(self, text: str) -> list[int]:
        """Ids of the pieces of ``text``, no control ids."""
        return list(self._processor.encode(text, out_type=int))

    def pieces(self, text: str) -> list[str]:
        """What each id of ``encode(text)`` stands for, unknown pieces as they stand in the text."""
        return list(self._processor.encode(text, out_type=str))

    def piece(self, index: int) -> str:
        """The piece of an id."""
        return str(self._processor.id_to_piece(index))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, in one call into the library."""
        return self._processor.encode(list(texts), out_type=int, num_threads=encoding_threads()) if texts else []

    def encode_arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of each text, [length] int32."""
        if not texts:
            return []
        if not hasattr(self._processor, "EncodeAsNumpy"):  # SentencePiece before 0.2.2
            return [np.array(ids, np.int32) for ids in self.encode_batch(texts)]
        return self._processor.EncodeAsNumpy(list(texts), num_threads=encoding_threads())

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the pieces. An id behind the last piece reads as unknown."""
        kept = content_ids(ids, pad_id=self.pad_id, eos_id=self.eos_id)
        if self.unk_id is None:
            return str(self._processor.decode([i for i in kept if 0 <= i < self._pieces]))
        return str(self._processor.decode([i if 0 <= i < self._pieces else self.unk_id for i in kept]))

    def fingerprint(self) -> str:
        """Digest of the file's content."""
        return hashlib.sha256(f"sentencepiece {self._digest}".encode()).hexdigest()

    def __reduce__(self) -> tuple[type["SentencePieceVocabulary"], tuple[Path]]:
        return SentencePieceVocabulary, (self.path,)


_FILES = "Or give a tokenizer's folder, its tokenizer.json, or a SentencePiece *.model file."
VOCABULARIES: Registry[Callable[[], Vocabulary]] = Registry("vocabulary", _FILES)


def register_vocabulary(name: str, factory: Callable[[], Vocabulary]) -> None:
    """Makes ``load_vocabulary(name)`` return ``factory()``; nothing is built before that."""
    VOCABULARIES.add(name, factory)


register_vocabulary("bytes", ByteVocabulary)


def load_vocabulary(spec: str | Path) -> Vocabulary:
    """The vocabulary of a registered name, or of the files of a published tokenizer.

    These are a folder, such as a model of Hugging Face's, a ``tokenizer.json``, or a SentencePiece
    ``*.model``. A relative path is looked for in the working directory, then in the data folder.
    Each vocabulary but SentencePiece's is built once a process.

    Raises:
        UserError: neither a name nor a readable tokenizer.
    """
    name = str(spec)
    if name in VOCABULARIES:
        return _build(VOCABULARIES.get(name))
    path = Path(name).expanduser()
    path = path if path.exists() else resolve(path)
    if name and path.is_dir():
        return _load_folder(path)
    looks_like_path = isinstance(spec, Path) or name.endswith((".model", ".json")) or "/" in name or "\\" in name
    if not looks_like_path and not path.is_file():
        raise unknown("vocabulary", name, VOCABULARIES, remedy=_FILES)
    if path.suffix == ".json":
        from flan_jax.data.tokenizers.hf_tokenizer import load_hf_tokenizer

        return load_hf_tokenizer(path)
    if not path.suffix and not path.exists():
        raise UserError(f"Vocabulary {name!r}: {str(path)!r} does not exist. Name a folder or file that does.")
    return SentencePieceVocabulary(path)


def _load_folder(folder: Path) -> Vocabulary:
    from flan_jax.data.tokenizers.hf_tokenizer import load_hf_tokenizer
    from flan_jax.data.tokenizers.hf_tokenizer_files import SENTENCEPIECE, find_tokenizer_file, named_tokens

    found = find_tokenizer_file(folder)
    if found.name not in SENTENCEPIECE:
        return load_hf_tokenizer(folder)
    vocabulary = SentencePieceVocabulary(found)
    end, named = vocabulary.piece(vocabulary.eos_id), named_tokens(folder).get("eos")
    if named not in (None, end):
        raise UserError(
            f"{str(folder)!r} ends a sequence with {named!r}, but its {found.name} with {end!r}, and there is no "
            "tokenizer.json that knows both. Write one with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
        )
    return vocabulary


@functools.cache
def _build(factory: Callable[[], Vocabulary]) -> Vocabulary:
    return factory()
