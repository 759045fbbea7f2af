"""Chat templates, their tokenization with a loss mask, and assistant replies as examples."""
