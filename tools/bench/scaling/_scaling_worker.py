"""One measurement of bench_scaling.py in a process of its own: `_bench_process.run` starts it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
from _bench_process import Report, measured


def main(mode: str, settings: Mapping[str, Any], report: Report) -> None:
    """Reports the result of a mode: `compile`, `overhead`, `checkpoint` or `memory`."""
    if mode == "compile":
        from _scaling_compile import compiled, job_of

        report(**compiled(job_of(**settings)))
        return
    import _scaling_loop
    import _scaling_memory

    parts = {
        "overhead": _scaling_loop.overhead,
        "checkpoint": _scaling_loop.checkpoint,
        "memory": _scaling_memory.memory,
    }
    report(**parts[mode](settings))


if __name__ == "__main__":
    measured(main)
