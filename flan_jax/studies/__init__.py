"""Studies: many runs that answer one question, expanded from one declaration, run, fitted and proposed from."""
