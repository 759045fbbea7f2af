"""The weights of a run: initialized, imported, verified, exported."""
