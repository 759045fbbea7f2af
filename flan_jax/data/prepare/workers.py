"""Prepares splits in several processes; the store holds the same bytes as from one.

A worker is a fresh process that imports NumPy and Arrow and little else; it is sent one task at a time. Tasks are
pickled with cloudpickle, so their functions may be lambdas, closures, or come from a module that the parent imported.
A worker ends with its parent, however that ends.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

from flan_jax.data.prepare.config import PrepareConfig
from flan_jax.data.prepare.pickling import dumps, dumps_setup, loads, loads_setup
from flan_jax.data.prepare.split_job import PreparedSplit, SplitJob, size_hint, write_split
from flan_jax.data.tokenizers.encoding import set_encoding_threads
from flan_jax.errors import UnknownNameError, UserError
from flan_jax.store.store import TokenStore

TaskJobs = tuple[SplitJob, ...]
"""The splits of one task, which read the same file as a rule."""
PATIENCE_S = 0.5
"""Seconds for which small tasks are prepared by the calling process, before it starts any worker."""
_SMALL_BYTES = 1 << 20
_GRACE_S = 5.0


def usable_cores() -> int:
    """Cores that this process may use: a container or a job scheduler may give it fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def write_all(
    jobs: Sequence[SplitJob],
    config: PrepareConfig,
    store: TokenStore,
    *,
    processes: int = 1,
    modules: Sequence[str] = (),
) -> Generator[tuple[SplitJob, PreparedSplit], None, None]:
    """Renders, tokenizes and stores each split; yields its outcome when it is stored, in no fixed order.

    Workers are started only when there is enough to do. The largest tasks then go first, and those
    of unknown size before them, so that no process is left with a large one at the end.

    Args:
        jobs: the splits to write.
        config: how they are prepared.
        store: written to.
        processes: how many work at a time.
        modules: imported by every worker before it starts.

    Raises:
        UserError: as ``split_job.write_split``, in the same words as from one process; or a task that
            cannot be sent to another process, or a worker that was killed.
    """
    tasks = _by_task(jobs)
    if processes > 1:
        tasks = deque(sorted(tasks, key=_size, reverse=True))
        patient_until = time.monotonic() + PATIENCE_S
        while tasks and _size(tasks[-1]) < _SMALL_BYTES and time.monotonic() < patient_until:
            yield from _write_here(tasks.pop(), config, store)
        if len(tasks) > 1:
            with contextlib.closing(
                _write_in_workers(tasks, dumps_setup(config, store, modules), processes)
            ) as written:
                for job, split in written:
                    yield job, write_split(job, config, store) if split is None else split
            return
    for own in tasks:
        yield from _write_here(own, config, store)


def _by_task(jobs: Sequence[SplitJob]) -> deque[TaskJobs]:
    by_task: dict[str, list[SplitJob]] = {}
    for job in jobs:
        by_task.setdefault(job.task.name, []).append(job)
    return deque(map(tuple, by_task.values()))


def _size(jobs: TaskJobs) -> float:
    """Estimates the bytes to read; infinite where a source does not know."""
    sizes = map(size_hint, jobs)
    return sum(float("inf") if size is None else size for size in sizes)


def _write_here(
    jobs: TaskJobs, config: PrepareConfig, store: TokenStore
) -> Generator[tuple[SplitJob, PreparedSplit], None, None]:
    for job in jobs:
        yield job, write_split(job, config, store)


@dataclasses.dataclass(eq=False)
class _Worker:
    """A process, the parent's end of the pipe to it, and the splits that it has not finished."""

    process: BaseProcess
    connection: Connection
    remaining: deque[SplitJob] = dataclasses.field(default_factory=deque)


def _write_in_workers(
    tasks: deque[TaskJobs], setup: bytes, processes: int
) -> Generator[tuple[SplitJob, PreparedSplit | None], None, None]:
    """Yields each split's outcome; ``None`` for a task that no worker can find by name, as a script registered it."""
    workers: list[_Worker] = []
    done = False
    try:
        with _ignore_interrupts():
            while len(workers) < min(processes, len(tasks)):
                workers.append(_start_worker(setup))
        for worker in workers:
            _send_next(worker, tasks)
        while busy := {worker.connection: worker for worker in workers if worker.remaining}:
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                split = _receive(worker)
                job = worker.remaining.popleft()
                if not worker.remaining:
                    _send_next(worker, tasks)
                yield job, split
        done = True
    finally:
        _stop(workers, at_once=not done)


@contextlib.contextmanager
def _ignore_interrupts() -> Iterator[None]:
    """Processes started inside ignore Ctrl-C, from their first moment: the parent decides what it means."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start_worker(setup: bytes) -> _Worker:
    # A fresh process: threads of JAX or TensorFlow in this one do not survive a fork.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_worker_main, args=(theirs, setup), name="flan-jax prepare", daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return _Worker(process, ours)


def _send_next(worker: _Worker, tasks: deque[TaskJobs]) -> None:
    """Sends the next task's jobs, if there are any."""
    if not tasks:
        return
    jobs = tasks.popleft()
    payload = dumps(jobs, f"Task {jobs[0].task.name!r}")
    worker.remaining.extend(jobs)
    with contextlib.suppress(ConnectionError):  # it died; receiving from it says so
        worker.connection.send_bytes(payload)


def _receive(worker: _Worker) -> PreparedSplit | None:
    try:
        kind, content = worker.connection.recv()
    except (EOFError, ConnectionError):
        worker.process.join()
        job = worker.remaining[0]
        raise UserError(
            f"The worker process that prepared task {job.task.name!r}, split {job.split!r} ended before it was done "
            f"(exit code {worker.process.exitcode}): it was killed, often for want of memory, or the lines above say why. "
            "Use fewer --processes and run the same command again."
        ) from None
    if kind == "refused":
        raise UserError(content)
    if kind == "failed":
        raise RuntimeError(f"in a worker process:\n{content}")
    return content


def _stop(workers: list[_Worker], *, at_once: bool) -> None:
    """Lets idle workers end, or terminates them; they remove what they had half-written."""
    for worker in workers:
        worker.connection.close()
        if at_once:
            worker.process.terminate()
    deadline = time.monotonic() + _GRACE_S
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


def _worker_main(connection: Connection, setup: bytes) -> None:
    """Runs a worker: writes the splits of each task that it receives, until the pipe is closed."""
    signal.signal(signal.SIGTERM, lambda *_: _end())  # unwinds, so that half-written folders are removed
    sys.unraisablehook = _print_unraisable
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_encoding_threads(1)
    with contextlib.suppress(EOFError, ConnectionError):
        config, store = _send_errors(connection, lambda: loads_setup(setup))
        while True:
            payload = connection.recv_bytes()
            for job in _send_errors(connection, lambda payload=payload: loads(payload)):
                split = _send_errors(connection, lambda job=job: _write_if_found(job, config, store))
                connection.send(("done", split))


def _write_if_found(job: SplitJob, config: PrepareConfig, store: TokenStore) -> PreparedSplit | None:
    """Writes a split; ``None`` where its task is found by a name that nothing registered in this process."""
    try:
        return write_split(job, config, store)
    except UnknownNameError:
        return None


def _print_unraisable(unraisable: Any) -> None:
    """Prints an exception that C code raised and nobody could catch, but for the end of the worker, which is no error."""
    if not isinstance(unraisable.exc_value, SystemExit):
        sys.__unraisablehook__(unraisable)


def _send_errors(connection: Connection, action: Any) -> Any:
    """Runs ``action`` and returns its result; what it raises is sent to the parent, and ends the worker."""
    try:
        return action()
    except UserError as error:
        connection.send(("refused", str(error)))
    except Exception:
        connection.send(("failed", traceback.format_exc()))
    _end()


def _end() -> NoReturn:
    """Ends the worker, once: a second signal while it unwinds would leave a traceback."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(1)
