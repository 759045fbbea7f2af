"""Suites that are measured beside a run's own: published benchmarks, and a chosen part of a mixture's suites."""
