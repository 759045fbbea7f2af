"""Evaluation: option scoring, generation, metrics with intervals, suites, results on disk."""
