"""Memory of a training process on a CPU: kept from step to step rather than given back.

XLA asks for a step's arrays anew each time, and the C library takes arrays of that size from the system and gives
them back when they are freed. The system clears every page of them, every step: of T5 small that was a fifth of the
time (docs/speed.md). This file imports nothing of ours, as it must act before JAX starts its threads.
"""

import ctypes
import os
import sys

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_NEVER = -1
_STEP_BYTES = 64 * 2**20
# Where one of these is there, arrays live elsewhere: GPUs of NVIDIA and AMD, TPUs.
_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/accel0", "/dev/vfio/0")


def keep_host_memory() -> bool:
    """Has this process keep the memory that it frees, for its next step.

    All threads then share one heap, which never shrinks: what the process holds is its peak, in our measurements up
    to half as much again. Call it before JAX is used.

    Returns:
        Whether it was done: on Linux with glibc, where arrays live on a CPU, and nobody has settings of their own for
        malloc.
    """
    named = os.environ.get("JAX_PLATFORMS") or ("other" if any(map(os.path.exists, _DEVICES)) else "cpu")
    chosen = any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get(
        "GLIBC_TUNABLES", ""
    )
    if not sys.platform.startswith("linux") or named.split(",")[0] != "cpu" or chosen or "LD_PRELOAD" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
        ctypes.CDLL(None).gnu_get_libc_version  # noqa: B018  (musl has a mallopt that does nothing)
    except (OSError, AttributeError):
        return False
    # A thread that has a heap of its own cannot keep large arrays in it, so there must be one heap for all.
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _STEP_BYTES))
    return all(mallopt(*setting) for setting in settings)
