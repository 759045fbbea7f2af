"""Writing text with a model: greedily, by sampling, or by beam search, in one compiled loop."""
