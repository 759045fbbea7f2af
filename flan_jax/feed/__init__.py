"""Where batches come from: the sampler, packing, the loader. No TensorFlow."""
