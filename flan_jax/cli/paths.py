"""Paths of the command line: every argument that names a place goes through the check of a run's settings, before any work.

Each function is a ``type`` of argparse, which puts the argument's name before what is wrong.
"""

import argparse
import os
from typing import Any

from flan_jax.typed import AnyPath, LocalPath, problem


def local_path(text: str) -> str:
    """Parses a file or folder of this machine, with ``~`` written out; ``""`` stays, as it leaves an option out."""
    return os.path.expanduser(_checked(text, LocalPath))


def any_path(text: str) -> str:
    """Parses the same, or an address (``gs://…``)."""
    return os.path.expanduser(_checked(text, AnyPath))


def given_path(text: str) -> str:
    """Parses a file or folder of this machine that must be named."""
    return local_path(_named(text))


def given_any_path(text: str) -> str:
    """Parses the same, or an address."""
    return any_path(_named(text))


def name_or_path(text: str) -> str:
    """Checks the name of something that is registered or on the hub, or a path. It is handed on as it was written."""
    return _checked(text, LocalPath)


def given_name_or_path(text: str) -> str:
    """Checks the same, which must be named."""
    return name_or_path(_named(text))


def local_paths(text: str) -> str:
    """Parses several, with commas between them."""
    return ",".join(local_path(part.strip()) for part in text.split(","))


def _named(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty, and a place must be named there")
    return text


def _checked(text: str, annotation: Any) -> str:
    if wrong := problem(text, annotation):
        raise argparse.ArgumentTypeError(f"{text if len(text) <= _SHOWN else text[:_SHOWN] + '…'!r}: {wrong}")
    return text


_SHOWN = 120
