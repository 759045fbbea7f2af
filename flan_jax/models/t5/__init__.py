"""T5: encoder-decoder transformers with relative position buckets."""
