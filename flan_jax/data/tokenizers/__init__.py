"""Vocabularies: bytes, words, SentencePiece and any ``tokenizer.json``."""

from flan_jax.data.tokenizers.base import BaseVocabulary
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.data.tokenizers.registry import load_vocabulary, register_vocabulary
from flan_jax.data.tokenizers.sentencepiece import SentencePieceVocabulary
from flan_jax.data.tokenizers.words import WordVocabulary

__all__ = [
    "BaseVocabulary",
    "ByteVocabulary",
    "SentencePieceVocabulary",
    "Vocabulary",
    "WordVocabulary",
    "load_vocabulary",
    "register_vocabulary",
]
