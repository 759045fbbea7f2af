"""The command `launch`: the command that it starts is looked into, and the options of a target come from gin and flags."""
