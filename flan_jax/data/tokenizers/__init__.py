"""Vocabularies: bytes, SentencePiece and any ``tokenizer.json``."""
