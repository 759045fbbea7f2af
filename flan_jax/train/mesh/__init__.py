"""The mesh of a run that names none."""
