"""The command line, and gin: the edge of the project."""
