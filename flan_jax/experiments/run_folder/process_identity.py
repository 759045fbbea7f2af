"""A process by more than its number: its machine, that machine's start and its own, so that the next bearer of the number is another."""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan_jax.files import is_alive


def this_process() -> dict[str, Any]:
    """Describes this process as JSON: ``host``, ``boot``, ``pid``, ``started`` and ``since``, the time now."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "boot": boot(),
        "pid": pid,
        "started": started(pid),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
    }


def lives_here(owner: Mapping[str, Any]) -> bool | None:
    """Tells whether a process that was described lives; ``None`` where it is not of this start of this machine."""
    if owner.get("host") != socket.gethostname() or owner.get("boot") != boot():
        return None
    # A number may have been given to another process since.
    pid = owner.get("pid")
    return isinstance(pid, int) and is_alive(pid) and started(pid) == owner.get("started")


def started(pid: int) -> str:
    """Returns when a process of this machine started, in ticks since the machine did; empty where nobody says.

    It is empty too of one that ended and that its parent has not asked after yet.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except (OSError, IndexError):
        return ""


def boot() -> str:
    """Tells one start of this machine from another; empty where nobody says."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
