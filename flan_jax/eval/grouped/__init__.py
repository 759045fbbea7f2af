"""Evaluation of many models of one shape together, on the same examples."""
