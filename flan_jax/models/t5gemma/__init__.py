"""T5Gemma 1 and 2: encoder-decoders made of the layers of Gemma 2 and 3; text only."""
