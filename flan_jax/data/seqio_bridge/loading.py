"""Postpones registering with seqio while the modules that do it are being imported themselves.

They import seqio, so the first import of seqio, which asks for the registration, may lie in the middle of theirs.
"""

import sys
from collections.abc import Callable

_MODULES = ("flan_jax.data.seqio_bridge.register", "flan_jax.data.seqio_bridge.vocabulary")
_postponed: list[Callable[[], None]] = []


def when_loaded(register: Callable[[], None]) -> None:
    """Calls ``register`` now, or when the last of the modules that are being imported is whole."""
    if any(map(_is_loading, _MODULES)):
        _postponed.append(register)
    else:
        register()


def loaded(name: str) -> None:
    """Runs what was postponed; called at the end of each of the modules, with its name."""
    if not any(_is_loading(other) for other in _MODULES if other != name):
        while _postponed:
            _postponed.pop()()


def _is_loading(name: str) -> bool:
    return bool(getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False))
