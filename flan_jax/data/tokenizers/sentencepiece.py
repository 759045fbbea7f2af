"""A vocabulary read from a SentencePiece model file (``SentencePieceVocabulary``)."""

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flan_jax.data.tokenizers.base import BaseVocabulary
from flan_jax.data.tokenizers.encoding import content_ids, encoding_threads
from flan_jax.errors import UserError


class SentencePieceVocabulary(BaseVocabulary):
    """A vocabulary of a SentencePiece model file, with the ids that the model declares.

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

        self.path: Path = Path(path)
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
        """Control pieces but the one that pads: their ids by their texts."""
        processor = self._processor
        controls = (i for i in range(self._pieces) if processor.is_control(i) and i != self.pad_id)
        return {str(processor.id_to_piece(index)): index for index in controls}

    def encode(self, text: str) -> list[int]:
        """Encodes ``text``, without control ids."""
        return list(self._processor.encode(text, out_type=int))

    def pieces(self, text: str) -> list[str]:
        """Returns the piece of each id of ``encode(text)``, unknown pieces as in the text."""
        return list(self._processor.encode(text, out_type=str))

    def piece(self, index: int) -> str:
        """Returns the piece of an id."""
        return str(self._processor.id_to_piece(index))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes each text, in one call into the library."""
        return self._processor.encode(list(texts), out_type=int, num_threads=encoding_threads()) if texts else []

    def encode_arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Encodes each text, [length] int32."""
        if not texts:
            return []
        if not hasattr(self._processor, "EncodeAsNumpy"):  # SentencePiece before 0.2.2
            return [np.array(ids, np.int32) for ids in self.encode_batch(texts)]
        return self._processor.EncodeAsNumpy(list(texts), num_threads=encoding_threads())

    def decode(self, ids: Iterable[int]) -> str:
        """Decodes pieces. An id behind the last piece reads as unknown."""
        kept = content_ids(ids, pad_id=self.pad_id, eos_id=self.eos_id)
        if self.unk_id is None:
            return str(self._processor.decode([i for i in kept if 0 <= i < self._pieces]))
        return str(self._processor.decode([i if 0 <= i < self._pieces else self.unk_id for i in kept]))

    def fingerprint(self) -> str:
        """Digests the file's content; hexadecimal."""
        return hashlib.sha256(f"sentencepiece {self._digest}".encode()).hexdigest()

    def __reduce__(self) -> tuple[type["SentencePieceVocabulary"], tuple[Path]]:
        return SentencePieceVocabulary, (self.path,)
