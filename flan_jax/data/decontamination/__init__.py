"""Finds held-out data that is also trained on, by data set and by record."""
