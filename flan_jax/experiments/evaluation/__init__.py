"""Checks of what a run measures against what it trains on: contamination, and overlap of examples."""
