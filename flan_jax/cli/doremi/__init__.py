"""The three runs of DoReMi as one command."""
