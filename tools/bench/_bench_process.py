"""A measurement in a process of its own, so that imports, memory and CPU time are its own.

The process that measures runs ``measured(main)``; the one that wants the numbers calls ``run``. Results are written
line by line as they are found, so that a process that is stopped at its time limit leaves what it had.
"""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

Report = Callable[..., None]


def run(script: str, mode: str, *, timeout: float | None = None, **settings: Any) -> dict[str, Any]:
    """Runs ``script`` and returns what it reported.

    Args:
        script: path of its file, from the folder of this one.
        mode: what it measures.
        timeout: seconds after which it is stopped; the result then has ``timed_out_after_s``.
        **settings: JSON values for it.

    Raises:
        RuntimeError: it failed; with the end of its standard error.
    """
    with tempfile.TemporaryDirectory() as folder:
        results, errors = Path(folder) / "results.jsonl", Path(folder) / "errors.txt"
        results.touch()
        # In a file: the names of thousands of tasks are too long for a command line.
        Path(folder, "settings.json").write_text(json.dumps({**settings, "mode": mode}))
        command = [sys.executable, str(Path(__file__).parent / script), folder]
        timed_out = False
        with errors.open("wb") as stream:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stream, start_new_session=True)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                timed_out = True
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # and whatever it started
                process.wait()
        found: dict[str, Any] = {}
        for line in results.read_text().splitlines():
            found |= json.loads(line)
        if timed_out:
            found["timed_out_after_s"] = timeout
        elif process.returncode:
            raise RuntimeError(f"{script} {mode} failed ({process.returncode}):\n{errors.read_text()[-3000:]}")
        return found


def measured(main: Callable[[str, dict[str, Any], Report], None]) -> None:
    """Calls ``main(mode, settings, report)``, pinned to one CPU if the settings say so."""
    folder = Path(sys.argv[1])
    settings = json.loads((folder / "settings.json").read_text())
    # Before anything is imported: libraries size their thread pools by the CPUs that they see.
    if settings.pop("one_core", False):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    def report(**values: Any) -> None:
        with (folder / "results.jsonl").open("a") as stream:
            stream.write(json.dumps(values) + "\n")

    main(settings.pop("mode"), settings, report)


def peak_mb() -> float:
    """The most memory that this process ever had resident, in MB, mapped files included; its children's added."""
    try:
        # ru_maxrss would do, but Linux lets a process inherit that from the one that started it.
        return sum(_peak_kib(pid) for pid in _family(os.getpid())) * 1024 / 1e6
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def memory_mb() -> dict[str, float]:
    """What this process has resident now, in MB: of its own (``own_mb``) and of mapped files (``mapped_mb``)."""
    status = Path("/proc/self/status").read_text()
    own, mapped = (int(status.partition(f"{name}:")[2].split()[0]) * 1024 / 1e6 for name in ("RssAnon", "RssFile"))
    return {"own_mb": own, "mapped_mb": mapped}


def _peak_kib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0])


def _family(pid: int) -> list[int]:
    """A process and all that it started, directly or not."""
    children = [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]
    return [pid, *(member for child in children for member in _family(child))]


def throughput(batches: Iterator[Mapping[str, Any]], seconds: float, warm_up: float) -> dict[str, Any]:
    """What comes within ``seconds`` after ``warm_up`` seconds, at least one batch.

    Padding is told by the segment ids, which both systems give; counting them is in the time.
    """
    import numpy as np

    begun = time.perf_counter()
    while time.perf_counter() < begun + warm_up:
        next(batches)
    tokens, cells = {"encoder": 0, "decoder": 0}, {"encoder": 0, "decoder": 0}
    steps = rows = 0
    wall, cpu = time.perf_counter(), time.process_time()
    while True:
        batch = next(batches)
        for side in tokens:
            segments = np.asarray(batch[f"{side}_segment_ids"])
            tokens[side] += int(np.count_nonzero(segments))
            cells[side] += segments.size
        steps, rows = steps + 1, rows + len(segments)
        passed = time.perf_counter() - wall
        if passed >= seconds:
            break
    return {
        "steps": steps,
        "rows": rows,
        "tokens": tokens,
        "cells": cells,
        "wall_s": passed,
        "cpu_s": time.process_time() - cpu,
    }
