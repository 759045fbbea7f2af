"""Several processes of one command on this machine, joined over loopback; begun again together on exit code 75."""

import math
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from flan_jax import signals
from flan_jax.launch.job import RESUBMIT, Job
from flan_jax.launch.options import LocalLaunch
from flan_jax.launch.process_variables import process_variables
from flan_jax.launch.record import note

_POLL_S = 0.2
_KILL_AFTER_S = 30.0
Show = Callable[[int, str], None]
"""Given the number of a process and a line that it printed."""


def process_environment(options: LocalLaunch, number: int, port: int | str) -> dict[str, str]:
    """The variables that make a process the ``number``-th of those on this machine.

    >>> process_environment(LocalLaunch(processes=2, gpus_per_process=2), 1, 1234)["CUDA_VISIBLE_DEVICES"]
    '2,3'
    """
    found = dict(pair.split("=", 1) for pair in options.env)
    if options.processes > 1:
        found |= process_variables(f"127.0.0.1:{port}", options.processes, number)
    if options.gpus_per_process:
        first = number * options.gpus_per_process
        found["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(first, first + options.gpus_per_process)))
    if options.cpu_devices:
        flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if "host_platform_device_count" not in flag]
        found["XLA_FLAGS"] = " ".join([*flags, f"--xla_force_host_platform_device_count={options.cpu_devices}"])
        found["JAX_PLATFORMS"] = "cpu"
    return found


def local_text(job: Job, options: LocalLaunch) -> str:
    """Writes the commands as a shell would be given them; PORT stands for a free one."""
    lines = []
    for number in range(options.processes):
        given = process_environment(options, number, "PORT")
        words = [f"{name}={shlex.quote(value)}" for name, value in given.items()]
        lines.append(" ".join([*words, shlex.join([*job.program, *job.command])]))
    return "\n".join(lines) + "\n"


def run_local(job: Job, options: LocalLaunch, show: Show) -> int:
    """Runs the processes to their end and returns their exit code.

    SIGTERM and Ctrl-C go on to all of them, and then nothing is begun again.

    Args:
        job: the command; each process's output is kept in its folder.
        options: how many, and on what.
        show: is given what they print, a line at a time.

    Returns:
        0 where all ended well; 75 where one says so and there are no more restarts; else that of the first to fail.
    """
    for restarts in range(options.max_restarts + 1):
        note(job.folder, "started", 0, restarts)
        code, stopped = _Group(job, options, show).run()
        again = code == RESUBMIT and not stopped and restarts < options.max_restarts
        note(job.folder, "requeued" if again else "ended", code, restarts)
        if not again:
            break
    return code


class _Group:
    """The processes of one attempt."""

    def __init__(self, job: Job, options: LocalLaunch, show: Show) -> None:
        self._options = options
        self._stopped = self._asked = False
        self._failed_at = math.inf
        self._codes: dict[int, int] = {}  # in the order in which they ended
        port = _free_port()
        self._processes = [
            _begin(job, {**os.environ, **process_environment(options, number, port)})
            for number in range(options.processes)
        ]
        self._readers = [
            threading.Thread(target=_read, args=(process.stdout, number, job.folder, show), daemon=True)
            for number, process in enumerate(self._processes)
        ]

    def run(self) -> tuple[int, bool]:
        """Waits for all; returns the exit code and whether a signal came."""
        for reader in self._readers:
            reader.start()
        while len(self._codes) < len(self._processes):
            try:
                self._end_the_others()
                self._look()
            except signals.Interrupted as stop:
                self._stopped = True
                self._send(stop.signum)
        for reader in self._readers:
            reader.join()
        return self._code(), self._stopped

    def _end_the_others(self) -> None:
        """Asks those that still run to end, a while after one failed, and a while later ends them."""
        if not any(self._codes.values()):
            return
        waited = time.monotonic() - self._failed_at
        if waited > self._options.grace_s + _KILL_AFTER_S:
            self._send(signal.SIGKILL)
        elif waited > self._options.grace_s and not self._asked:
            self._asked = True
            self._send(signal.SIGTERM)

    def _look(self) -> None:
        for number, process in enumerate(self._processes):
            if number not in self._codes:
                code = process.poll()
                if code is not None:
                    self._codes[number] = code if code >= 0 else 128 - code
                    self._failed_at = min(self._failed_at, time.monotonic()) if code else self._failed_at
        if len(self._codes) < len(self._processes):
            time.sleep(_POLL_S)

    def _send(self, signum: int) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signum)

    def _code(self) -> int:
        failed = [code for code in self._codes.values() if code]
        return RESUBMIT if RESUBMIT in failed else failed[0] if failed else 0


def _begin(job: Job, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    # A session of its own: a terminal's Ctrl-C comes to launch alone, which passes it on once.
    return subprocess.Popen(
        [*job.program, *job.command],
        env=dict(environment),
        cwd=job.working_dir,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _read(stream: BinaryIO, number: int, folder: Path, show: Show) -> None:
    with (folder / f"process_{number}.log").open("ab") as log:
        for line in iter(stream.readline, b""):
            log.write(line)
            log.flush()
            show(number, line.decode("utf-8", "replace").rstrip("\n"))


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def this_program() -> Sequence[str]:
    """Returns the words that start flan-jax with this interpreter."""
    return (sys.executable, "-m", "flan_jax.cli.main")
