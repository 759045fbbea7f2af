"""Registers the catalog with seqio when seqio is imported, and not before (``install``).

Importing a mixture must not import TensorFlow, yet ``seqio.get_mixture_or_task`` must know it.
A finder on ``sys.meta_path`` waits for the first ``import seqio``, lets it run as it always
does, and then calls the bridge. This module imports neither.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence

from flan_jax.data.seqio_bridge import loading

_SEQIO = "seqio"


class _RegisteringLoader(importlib.abc.Loader):
    """Runs the real loader, puts it back in its place, and registers the catalogue."""

    def __init__(self, real: importlib.abc.Loader) -> None:
        self._real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        module.__loader__ = self._real
        self._real.exec_module(module)
        loading.when_loaded(_register)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds nothing but the first import of seqio."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _SEQIO:
            return None
        # Out of the way first: the real finders are asked again, and once is enough.
        remove()
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            install()  # not installed; a later attempt may succeed
            return spec
        spec.loader = _RegisteringLoader(spec.loader)
        return spec


_FINDER = _Finder()


def _register() -> None:
    from flan_jax.data.seqio_bridge import register as seqio_bridge

    seqio_bridge.register_catalog()


def install() -> None:
    """Registers everything catalogued when seqio is imported, or now if it has been already.

    Calling it again registers what was catalogued since.
    """
    if _SEQIO in sys.modules:
        _register()
    elif _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def remove() -> None:
    """Removes the finder; seqio then does not register the catalog."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
