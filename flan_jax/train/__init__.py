"""Training: a mesh, an optimiser, one compiled step, checkpoints, and the loop around them.

Knows no data framework: it is handed batches and hooks.
"""
