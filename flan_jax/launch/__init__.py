"""Starting runs on many processes or a cluster. Standard library and PyYAML only."""
