"""Runs each part of a check in a process of its own, with a limit of time; what it found until then is kept."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from device.parts import CheckedPart

TOOLS = Path(__file__).parents[1]
_TAIL = 2000
_POLL_S = 0.2
_KEPT = "XLA_PYTHON_CLIENT_MEM_FRACTION"
MEMORY_SHARE = 0.92
"""Of a GPU's memory that JAX takes at its start: what a plan counts with (`plan.targets.GPU_SHARE`)."""
Found = dict[str, Any]


def run_part(
    part: CheckedPart, python: str, settings: Mapping[str, Any], limit_s: float, changed: Callable[[Found], None]
) -> Found:
    """Runs a part.

    Args:
        part: of `PARTS`.
        python: the interpreter that has the packages.
        settings: for `worker.py`, JSON values.
        limit_s: seconds after which it and all that it started are killed.
        changed: called with what is known whenever that becomes more.

    Returns:
        `status` (`done`, `failed`, `timed_out`), `reason` where it is not done, `seconds`, `limit_s`, and `results`.
    """
    found: Found = {"status": "running", "limit_s": limit_s, "results": {}}
    with tempfile.TemporaryDirectory(prefix="device_check_") as folder:
        lines, errors = Path(folder) / "results.jsonl", Path(folder) / "errors.txt"
        lines.touch()
        Path(folder, "settings.json").write_text(json.dumps({**settings, "part": part._asdict()}))
        begun, read = time.monotonic(), 0
        with errors.open("wb") as stream:
            process = subprocess.Popen(
                [python, str(Path(__file__).with_name("worker.py")), folder], stdout=stream, stderr=stream,
                start_new_session=True, env=environment(os.environ, tuned=part.name != "torch"),
            )  # fmt: skip
            try:
                while process.poll() is None and time.monotonic() - begun < limit_s:
                    time.sleep(_POLL_S)
                    read = _merge(lines, read, found, changed)
            finally:
                timed_out = process.poll() is None
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)  # and whatever it started
                process.wait()
        _merge(lines, read, found, changed)
        found["seconds"] = round(time.monotonic() - begun, 2)
        said = errors.read_text(errors="replace")
    if timed_out:
        found |= {"status": "timed_out", "reason": f"stopped after {limit_s:.0f} s", "output": said[-_TAIL:]}
    elif process.returncode:
        found |= {"status": "failed", "reason": _last_line(said, process.returncode), "output": said[-_TAIL:]}
    else:
        found["status"] = "done"
    changed(found)
    return found


def environment(given: Mapping[str, str], *, tuned: bool) -> dict[str, str]:
    """Returns a part's environment: the packages of this checkout, and most of a GPU's memory for JAX.

    Args:
        given: of this process; what it says of JAX's memory holds.
        tuned: the part is JAX's alone; otherwise another framework has the memory.
    """
    own = [str(TOOLS.parent), str(TOOLS), str(TOOLS / "bench")]
    paths = [*own, *(part for part in given.get("PYTHONPATH", "").split(os.pathsep) if part)]
    memory = {_KEPT: str(MEMORY_SHARE)} if tuned else {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))} | memory | {
        name: value for name, value in given.items() if name != "PYTHONPATH"
    }  # fmt: skip


def _merge(lines: Path, read: int, found: Found, changed: Callable[[Found], None]) -> int:
    """Takes whole lines behind the first `read` bytes into the results; returns how far it has read."""
    with lines.open("rb") as stream:
        stream.seek(read)
        text = stream.read()
    whole = text[: text.rfind(b"\n") + 1]
    for line in whole.splitlines():
        found["results"] |= json.loads(line)
    if whole:
        changed(found)
    return read + len(whole)


def _last_line(said: str, code: int) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"ended with code {code}: {lines[-1][:300] if lines else 'it said nothing'}"


def log(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
