"""From tasks to stored token ids: render, tokenize and write each split once."""
