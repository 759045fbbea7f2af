"""A user's own modules: imported by name, and remembered, so that another process can do the same.

Importing one is how tasks, mixtures and vocabularies get registered. A worker process starts
with empty registries; what it is handed names the modules to import there.
"""

import contextlib
import importlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from flan_jax.errors import UserError

_imported: dict[str, None] = {}


def import_modules(names: Iterable[str]) -> None:
    """Imports modules, the working folder's among them, and remembers their names in order."""
    names = tuple(names)
    if names and "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in names:
        with refused_exit(f"--module_import {name}"):
            importlib.import_module(name)
        _imported[name] = None


@contextlib.contextmanager
def refused_exit(what: str) -> Iterator[None]:
    """Around an import of a user's module: one that ends the process would end the command as if all were done.

    Raises:
        UserError: the module exits, or cannot be imported.
    """
    try:
        yield
    except UserError:
        raise
    except SystemExit as error:
        raise UserError(
            f"{what}: the module ends the process (SystemExit: {error.code}). Put what it runs below "
            "`if __name__ == '__main__':`."
        ) from error
    except Exception as error:
        raise UserError(
            f"{what}: {type(error).__name__}: {error}. Give the dotted name of a module that imports."
        ) from error


def imported_modules() -> tuple[str, ...]:
    """Returns the names that ``import_modules`` imported, each once."""
    return tuple(_imported)
