"""One module a command: EXAMPLE, add_arguments(parser), execute(arguments)."""
