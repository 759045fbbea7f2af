"""Pickles tasks, the ``PrepareConfig`` and the store for another process of the same run.

Pickle is used between processes of one run only, never for anything that is stored or that comes from outside. A
function that the other process can import is pickled by name, any other by value.
"""

import importlib
import pickle
from collections.abc import Sequence
from typing import Any

from flan_jax.data.prepare.config import PrepareConfig
from flan_jax.data.sources import base as sources
from flan_jax.data.sources import published
from flan_jax.errors import UserError
from flan_jax.store.store import TokenStore


def dumps(value: Any, name: str) -> bytes:
    """Pickles a value, functions among it by value where they cannot be imported.

    Raises:
        UserError: it cannot be pickled; the message calls it ``name``.
    """
    import cloudpickle

    try:
        return cloudpickle.dumps(value)
    except Exception as error:  # whatever an object's own way to be pickled raises
        raise UserError(
            f"{name} cannot be sent to another process ({type(error).__name__}: {error}). Keep open files, locks and the "
            "like out of it, or prepare in one process (--processes 1)."
        ) from error


def loads(content: bytes) -> Any:
    """Reads what ``dumps`` made."""
    return pickle.loads(content)


def dumps_setup(config: PrepareConfig, store: TokenStore, modules: Sequence[str]) -> bytes:
    """Pickles what a worker needs once, before any task: configuration, store, modules to import and data folders."""
    shared = dumps((config, store), f"The vocabulary {config.vocabulary.name!r}, or the store,")
    return dumps((tuple(modules), sources.data_dir(), published.source_dir(), shared), "The data folder")


def loads_setup(setup: bytes) -> tuple[PrepareConfig, TokenStore]:
    """Imports the modules and sets the data folders of ``dumps_setup`` in this process; returns configuration and store."""
    modules, data_dir, source_dir, shared = loads(setup)
    for module in modules:
        importlib.import_module(module)
    if sources.data_dir() != data_dir:
        sources.set_data_dir(data_dir)
    if published.source_dir() != source_dir:
        published.set_source_dir(source_dir)
    config, store = loads(shared)
    return config, store
