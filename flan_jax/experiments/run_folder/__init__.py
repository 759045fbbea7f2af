"""A run's folder, MODEL_DIR: the names of its files, whether it holds this run, and its lock."""
