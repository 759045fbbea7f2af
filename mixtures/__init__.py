"""Declarations only: one module per cluster or collection. Importing this package reads no data."""
