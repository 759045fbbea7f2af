"""Published templates read from a user's own files, and the sandbox that Jinja runs in."""
