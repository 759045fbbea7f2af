"""How many examples a property is tried with: few where each is compiled, many under `make test-deep`."""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import settings

DEEP = os.environ.get("FLAN_JAX_DEEP") == "1"


def examples(few: int, *, deep: int) -> Callable[[Any], Any]:
    """Decorates a property whose examples take long."""
    return settings(max_examples=deep if DEEP else few)
