"""Sources of records: JSON files, generators, the Hugging Face hub, TFDS and published data sets."""
