"""Runs of one shape trained together: which may be, how many fit, their training, evaluation and checkpoints."""
