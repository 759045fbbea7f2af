"""The loss on examples that a run does not train on, measured while it trains, and what is decided by it."""
