"""The base class of vocabularies (``BaseVocabulary``), and the one place where others come in (``as_vocabulary``)."""

import abc
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.errors import UserError

_REQUIRED = ("name", "size", "pad_id", "eos_id", "unk_id", "encode", "decode", "fingerprint")
_OPTIONAL = (
    "bos_id",
    "adds_bos",
    "special_tokens",
    "path",
    "encode_batch",
    "encode_arrays",
    "encode_offsets",
    "pieces",
)


class BaseVocabulary(abc.ABC):
    """A ``Vocabulary`` but for what each has of its own: ``name``, ``size``, the ids, and the methods that are abstract.

    Attributes:
        bos_id: the id that begins a sequence, where the tokenizer declares one; nothing here adds it.
        adds_bos: true where the tokenizer's own rules put it in front of a text; ``None`` where none says.
        path: the folder or file that it was read from.
        has_offsets: true where ``encode_offsets`` is written.
    """

    bos_id: int | None = None
    adds_bos: bool | None = None
    path: Path | None = None
    has_offsets: bool = False

    @functools.cached_property
    def special_tokens(self) -> Mapping[str, int]:
        """The ids of special tokens by their texts; none."""
        return {}

    @abc.abstractmethod
    def encode(self, text: str) -> list[int]:
        """Encodes ``text``, without the end-of-sequence id."""

    @abc.abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """Decodes ``ids`` up to the first end-of-sequence id, without padding."""

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Digests everything that changes what ``encode`` returns; hexadecimal."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes each text."""
        return [self.encode(text) for text in texts]

    def encode_arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Encodes each text, [length] int32."""
        return [np.array(ids, np.int32) for ids in self.encode_batch(texts)]

    def encode_offsets(self, text: str) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
        """Raises: most do not know the characters of a token, and leave ``has_offsets`` false."""
        raise NotImplementedError(f"{type(self).__name__} does not know where its tokens stand in a text")

    def pieces(self, text: str) -> list[str]:
        """Returns the piece of each id of ``encode(text)``, decoded by itself."""
        return [self.decode([index]) for index in self.encode(text)]


class AdaptedVocabulary(BaseVocabulary):
    """A vocabulary that is no ``BaseVocabulary``: its own methods, and the defaults of those that it lacks."""

    def __init__(self, given: Any) -> None:
        self.given = given
        for name in _OPTIONAL:
            if hasattr(given, name):
                setattr(self, name, getattr(given, name))
        self.has_offsets = hasattr(given, "encode_offsets")

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.given.name)

    @property
    def size(self) -> int:
        """Its number of ids."""
        return int(self.given.size)

    @property
    def pad_id(self) -> int:
        """Its padding id, as it is, so that ``check_special_ids`` sees what is wrong with it."""
        return self.given.pad_id  # type: ignore[no-any-return]

    @property
    def eos_id(self) -> int:
        """Its end-of-sequence id, as it is."""
        return self.given.eos_id  # type: ignore[no-any-return]

    @property
    def unk_id(self) -> int | None:
        """Its unknown id."""
        return self.given.unk_id  # type: ignore[no-any-return]

    def encode(self, text: str) -> list[int]:
        """Encodes as it does."""
        return list(self.given.encode(text))

    def decode(self, ids: Iterable[int]) -> str:
        """Decodes as it does."""
        return str(self.given.decode(ids))

    def fingerprint(self) -> str:
        """Returns its digest."""
        return str(self.given.fingerprint())


def as_vocabulary(given: Any) -> Vocabulary:
    """Returns ``given`` if it is a ``BaseVocabulary``, or else one that has its methods and the defaults of the others.

    Raises:
        UserError: it lacks what every vocabulary must have.
    """
    missing = [name for name in _REQUIRED if not hasattr(given, name)]
    if missing:
        raise UserError(
            f"The vocabulary {getattr(given, 'name', given)!r:.80} ({type(given).__name__}) has no "
            f"{' and no '.join(missing)}, which every vocabulary must have. Subclass "
            "flan_jax.data.tokenizers.BaseVocabulary and add it."
        )
    return given if isinstance(given, BaseVocabulary) else AdaptedVocabulary(given)  # type: ignore[return-value]
