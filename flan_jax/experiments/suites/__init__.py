"""What is measured beside a run's own suites: published benchmarks, and a chosen part of a mixture's suites."""
