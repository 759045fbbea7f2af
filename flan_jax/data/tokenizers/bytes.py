"""A vocabulary of UTF-8 bytes in ByT5's layout (``ByteVocabulary``)."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from flan_jax.data.tokenizers.base import BaseVocabulary
from flan_jax.data.tokenizers.encoding import content_ids
from flan_jax.data.tokenizers.protocol import EOS_ID, FIRST_FREE_ID, PAD_ID, UNK_ID


class ByteVocabulary(BaseVocabulary):
    """A vocabulary of UTF-8 bytes in ByT5's layout: 0 pad, 1 end of sequence, 2 unknown, byte ``b`` at ``b + 3``."""

    name = "bytes"
    size = 256 + FIRST_FREE_ID
    pad_id = PAD_ID
    eos_id = EOS_ID
    special_tokens: Mapping[str, int] = MappingProxyType({"</s>": EOS_ID})

    def __init__(self) -> None:
        self.unk_id: int | None = UNK_ID

    def encode(self, text: str) -> list[int]:
        """Encodes ``text`` as its bytes, each plus three."""
        return [byte + FIRST_FREE_ID for byte in text.encode()]

    def pieces(self, text: str) -> list[str]:
        """Returns the piece of each id of ``encode(text)``: an ASCII character, or a byte of another."""
        return [chr(byte) if byte < 0x80 else f"<0x{byte:02X}>" for byte in text.encode()]

    def encode_arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Encodes each text, [length] int32."""
        return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) + FIRST_FREE_ID for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """Decodes the bytes; ids of no byte, and invalid UTF-8, are left out."""
        kept = content_ids(ids, pad_id=PAD_ID, eos_id=EOS_ID)
        return bytes(i - FIRST_FREE_ID for i in kept if FIRST_FREE_ID <= i < self.size).decode(errors="ignore")

    def fingerprint(self) -> str:
        """Returns a constant digest: the layout never changes."""
        return hashlib.sha256(b"bytes, ByT5 layout").hexdigest()
