"""The plan of a run: its programs compiled for a target's chips without one, with bytes, operations, time and cost."""
