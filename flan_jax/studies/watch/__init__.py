"""The state of a study that is under way: who works at it and how far they are, and what hangs."""
