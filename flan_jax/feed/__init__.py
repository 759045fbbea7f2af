"""Batches and where they come from: the sampler, packing, the loader. No TensorFlow."""
