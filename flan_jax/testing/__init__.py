"""Helpers for tests, of this project and of those who build on it: toy tasks, a byte tokenizer."""

from flan_jax.data.tokenizers.bytes import ByteVocabulary

__all__ = ["ByteVocabulary"]
