"""Examples and where they come from: sources, record formats, tokenizers, and their way into the token store."""
