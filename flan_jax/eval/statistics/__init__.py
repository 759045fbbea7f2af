"""Intervals, paired tests, power and noise of scores: numpy and scipy alone, no model."""
