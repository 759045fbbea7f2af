"""Outputs of a run beside its own files: trackers, and traces of a profiler."""
