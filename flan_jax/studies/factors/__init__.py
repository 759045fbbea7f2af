"""Factors, which a study varies: one module a kind."""
