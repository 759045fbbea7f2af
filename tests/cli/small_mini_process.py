"""`flan-jax` as a process of its own, in which `mini` has few records."""

import sys

from small_mini import small_mini

from flan_jax.cli.main import script

if __name__ == "__main__":
    assert sys.argv[1:]
    with small_mini():
        script()
