"""Families of decoders, one a file: their rows in transformers' format and their published sizes; ``table`` lists them."""
