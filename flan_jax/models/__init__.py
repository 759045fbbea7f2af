"""Models: T5 and decoders in Flax NNX, used functionally, with import and export of published weights."""
