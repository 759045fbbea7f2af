"""One run wired together, from a configuration to results; and, later, many runs as one study."""
