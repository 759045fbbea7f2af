"""Large pages for a training process on a CPU.

XLA asks for a step's arrays anew each time, and the C library takes arrays of that size from the system and gives
them back when they are freed. The system clears every page of them, every step: of T5 small that was a fifth of the
time (docs/speed.md). In pages of 2 MiB it is less than half of that, in the same memory. This file imports nothing of
ours, as it acts before anything else does.
"""

import os
import sys
from pathlib import Path

TUNABLES = "GLIBC_TUNABLES"
LARGE_PAGES = "glibc.malloc.hugetlb=1"
# Where one of these is there, arrays live elsewhere: GPUs of NVIDIA and AMD, TPUs.
_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/accel0", "/dev/vfio/0")
_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def large_pages_help() -> bool:
    """Whether this process should ask for large pages and does not.

    That is so on Linux with glibc, where arrays live on a CPU, the system gives large pages to those who ask, and
    nobody has settings of their own for malloc.
    """
    if not sys.platform.startswith("linux") or os.environ.get(TUNABLES) or os.environ.get("LD_PRELOAD"):
        return False
    if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
        return False
    device = os.environ.get("JAX_PLATFORMS") or ("other" if any(map(os.path.exists, _DEVICES)) else "cpu")
    try:
        return device.split(",")[0] == "cpu" and "[madvise]" in _PAGES.read_text()
    except OSError:
        return False


def start_with_large_pages() -> None:
    """Begins this program again, in the same process, with large pages; returns where they would not help.

    The C library reads its settings when a program begins, so they cannot be changed later.
    """
    if large_pages_help():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, TUNABLES: LARGE_PAGES})
