"""Models here as a backend of lm-evaluation-harness, by the name ``flan_jax``. Only ``language_model`` imports the harness."""
