"""A user's own modules: imported by name, and remembered, so that another process can do the same.

Importing one is how tasks, mixtures and vocabularies get registered. A worker process starts
with empty registries; what it is handed names the modules to import there.
"""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path

_imported: dict[str, None] = {}


def import_modules(names: Iterable[str]) -> None:
    """Imports modules, the working folder's among them, and remembers their names in order."""
    names = tuple(names)
    if names and "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in names:
        importlib.import_module(name)
        _imported[name] = None


def imported_modules() -> tuple[str, ...]:
    """The names that ``import_modules`` imported, each once."""
    return tuple(_imported)
