"""Metrics of answers and scores, by name, with bootstrap intervals. Standard library, NumPy and SciPy only."""
