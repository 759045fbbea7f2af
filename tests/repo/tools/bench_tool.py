"""The benchmarks of ``tools/bench`` as modules."""

import sys
from pathlib import Path
from types import ModuleType

TOOLS = Path(__file__).parents[3] / "tools" / "bench"


def tool(name: str, folder: Path = TOOLS) -> ModuleType:
    """Imports a script, so that its parts can be called."""
    sys.path[:0] = [str(folder), str(TOOLS)]
    try:
        return __import__(name)
    finally:
        del sys.path[:2]
