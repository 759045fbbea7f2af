"""Our tasks in seqio's registries and seqio's tasks here: the only importer of seqio and TensorFlow."""
