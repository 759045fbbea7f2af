"""Mixtures: tasks with rates, policies that weight them, held-out splits, and suites to evaluate."""
