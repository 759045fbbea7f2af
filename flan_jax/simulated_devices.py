"""Threads for simulated devices: with too few of them, several devices of one CPU wait for one another for ever."""

import os
import re
from collections.abc import MutableMapping

_DEVICE_COUNT = re.compile(r"--xla_force_host_platform_device_count=(\d+)")
_THREADS = "NPROC"
"""Read by XLA's CPU client when it is made, once for a process; by default it takes a thread a core."""
_OURS = "FLAN_JAX_NPROC"
"""What this module has set ``NPROC`` to, so that a process begun from here does not take it for the user's."""
_PER_DEVICE = 4
"""Of eight devices on two cores, eight and nine threads hung in every run, sixteen and more in none."""


def give_threads_to_simulated_devices(environment: MutableMapping[str, str] | None = None) -> None:
    """Has XLA start enough threads for the CPU devices that ``XLA_FLAGS`` or ``JAX_NUM_CPU_DEVICES`` ask for.

    A device that has come to a collective holds a thread until the others come to the same one. Where all threads are
    held so, in collectives that do not depend on each other, none is left for those they wait for. Must be called before
    JAX's first computation.

    Args:
        environment: by default this process's.
    """
    environment = os.environ if environment is None else environment
    if (ours := environment.pop(_OURS, None)) is not None and environment.get(_THREADS) == ours:
        del environment[_THREADS]
    asked = _DEVICE_COUNT.findall(environment.get("XLA_FLAGS", ""))[-1:] or [environment.get("JAX_NUM_CPU_DEVICES", "")]
    devices = int(asked[0]) if asked[0].isdecimal() else 1
    wanted, given = _PER_DEVICE * devices, environment.get(_THREADS, "")
    there = int(given) if given.isdecimal() else os.cpu_count() or 1
    if devices > 1 and there < wanted:
        environment[_THREADS] = environment[_OURS] = str(wanted)
