"""Metrics of answers and scores, by name. Standard library, NumPy and SciPy only."""
