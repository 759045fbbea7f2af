"""Decoder-only transformers of nine families, by one configuration."""
