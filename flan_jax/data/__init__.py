"""Where examples come from: sources, record formats, tokenizers, and their way into the token store."""
