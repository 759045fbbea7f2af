"""Measuring a run: what is measured beside its suites, and how examples are labeled."""
