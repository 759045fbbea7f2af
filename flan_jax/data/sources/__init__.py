"""Where records come from: JSON files, generators, the Hugging Face hub, TFDS and published data sets."""
