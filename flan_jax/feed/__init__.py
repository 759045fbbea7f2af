"""Where batches come from: the token store, the sampler, packing, the loader. No TensorFlow."""
