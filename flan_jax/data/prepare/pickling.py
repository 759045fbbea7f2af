"""What travels to another process of the same run: tasks with their functions, the recipe, the store.

Pickle is used between processes of one run only, never for anything that is kept or that comes from
outside. A function that the other side can import travels by name, any other whole.
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


def packed(what: Any, name: str) -> bytes:
    """``what`` as bytes.

    Raises:
        UserError: it cannot be pickled; the message calls it ``name``.
    """
    import cloudpickle

    try:
        return cloudpickle.dumps(what)
    except Exception as error:  # whatever an object's own way to be pickled raises
        raise UserError(
            f"{name} cannot be sent to another process ({type(error).__name__}: {error}). Keep open files, locks and the "
            "like out of it, or prepare in one process (--processes 1)."
        ) from error


def unpacked(content: bytes) -> Any:
    """What was packed."""
    return pickle.loads(content)


def packed_setup(recipe: PrepareConfig, store: TokenStore, modules: Sequence[str]) -> bytes:
    """What a worker is given once, before any task."""
    tools = packed((recipe, store), f"The vocabulary {recipe.vocabulary.name!r}, or the store,")
    return packed((tuple(modules), sources.data_dir(), published.source_dir(), tools), "The data folder")


def unpacked_setup(setup: bytes) -> tuple[PrepareConfig, TokenStore]:
    """Recipe and store, after the modules are imported and the folders are set in this process."""
    modules, data_dir, source_dir, tools = unpacked(setup)
    for module in modules:
        importlib.import_module(module)
    if sources.data_dir() != data_dir:
        sources.set_data_dir(data_dir)
    if published.source_dir() != source_dir:
        published.set_source_dir(source_dir)
    recipe, store = unpacked(tools)
    return recipe, store
