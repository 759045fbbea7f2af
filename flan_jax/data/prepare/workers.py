"""Preparing in several processes. What is stored is the same, byte for byte, as from one.

A worker is a fresh process that imports NumPy and Arrow and little else; it is handed one task at
a time. A task travels by cloudpickle, so its functions may be lambdas, closures, or come from a
module that the parent imported. A worker ends with its parent, however that ends.
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
from flan_jax.data.prepare.pickling import packed, packed_setup, unpacked, unpacked_setup
from flan_jax.data.prepare.split_job import PreparedSplit, SplitJob, size_hint, write
from flan_jax.data.tokenizers import vocabulary as tokenizers
from flan_jax.errors import UnknownNameError, UserError
from flan_jax.store.store import TokenStore

Job = tuple[SplitJob, ...]
"""The splits of one task, which read the same file as a rule."""
PATIENCE_S = 0.5
"""For so long small tasks are prepared by the calling process, before it starts any worker."""
_SMALL_BYTES = 1 << 20
_GRACE_S = 5.0


def usable_cores() -> int:
    """Cores that this process may use: a container or a job scheduler may give it fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def write_all(
    works: Sequence[SplitJob],
    recipe: PrepareConfig,
    store: TokenStore,
    *,
    processes: int = 1,
    modules: Sequence[str] = (),
) -> Generator[tuple[SplitJob, PreparedSplit], None, None]:
    """Renders, tokenises and stores each split; yields it when it is there, in no fixed order.

    Workers are started only when there is enough to do. The largest tasks then go first, and those
    of unknown size before them, so that no process is left with a large one at the end.

    Args:
        works: the splits to write.
        recipe: how.
        store: where to.
        processes: how many work at a time.
        modules: imported by every worker before it begins.

    Raises:
        UserError: as ``splits.write``, in the same words as from one process; or a task that
            cannot be sent to another process, or a worker that was killed.
    """
    jobs = _jobs(works)
    if processes > 1:
        jobs = deque(sorted(jobs, key=_size, reverse=True))
        patient_until = time.monotonic() + PATIENCE_S
        while jobs and _size(jobs[-1]) < _SMALL_BYTES and time.monotonic() < patient_until:
            yield from _write_here(jobs.pop(), recipe, store)
        if len(jobs) > 1:
            with contextlib.closing(
                _write_in_workers(jobs, packed_setup(recipe, store, modules), processes)
            ) as written:
                for work, split in written:
                    yield work, write(work, recipe, store) if split is None else split
            return
    for job in jobs:
        yield from _write_here(job, recipe, store)


def _jobs(works: Sequence[SplitJob]) -> deque[Job]:
    by_task: dict[str, list[SplitJob]] = {}
    for work in works:
        by_task.setdefault(work.task.name, []).append(work)
    return deque(map(tuple, by_task.values()))


def _size(job: Job) -> float:
    sizes = [size_hint(work) for work in job]
    return sum(float("inf") if size is None else size for size in sizes)


def _write_here(
    job: Job, recipe: PrepareConfig, store: TokenStore
) -> Generator[tuple[SplitJob, PreparedSplit], None, None]:
    for work in job:
        yield work, write(work, recipe, store)


@dataclasses.dataclass(eq=False)
class _Worker:
    """A process, the parent's end of the pipe to it, and the splits that it has still to do."""

    process: BaseProcess
    connection: Connection
    remaining: deque[SplitJob] = dataclasses.field(default_factory=deque)


def _write_in_workers(
    jobs: deque[Job], setup: bytes, processes: int
) -> Generator[tuple[SplitJob, PreparedSplit | None], None, None]:
    """Yields each split as it is there, or none for one that a worker cannot find: a script may have registered it."""
    workers: list[_Worker] = []
    done = False
    try:
        with _interrupts_ignored():
            while len(workers) < min(processes, len(jobs)):
                workers.append(_started(setup))
        for worker in workers:
            _hand_over(worker, jobs)
        while busy := {worker.connection: worker for worker in workers if worker.remaining}:
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                split = _received(worker)
                work = worker.remaining.popleft()
                if not worker.remaining:
                    _hand_over(worker, jobs)
                yield work, split
        done = True
    finally:
        _stop(workers, at_once=not done)


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started inside ignore Ctrl-C, from their first moment: the parent decides what it means."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _started(setup: bytes) -> _Worker:
    # A fresh process: threads of JAX or TensorFlow in this one do not survive a fork.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, setup), name="flan-jax prepare", daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return _Worker(process, ours)


def _hand_over(worker: _Worker, jobs: deque[Job]) -> None:
    """Sends the next job, if there is one."""
    if not jobs:
        return
    job = jobs.popleft()
    payload = packed(job, f"Task {job[0].task.name!r}")
    worker.remaining.extend(job)
    with contextlib.suppress(ConnectionError):  # it died; receiving from it says so
        worker.connection.send_bytes(payload)


def _received(worker: _Worker) -> PreparedSplit | None:
    try:
        kind, content = worker.connection.recv()
    except (EOFError, ConnectionError):
        worker.process.join()
        work = worker.remaining[0]
        raise UserError(
            f"The worker process that prepared task {work.task.name!r}, split {work.split!r} ended before it was done "
            f"(exit code {worker.process.exitcode}): it was killed, often for want of memory, or the lines above say why. "
            "Use fewer --processes and run the same command again."
        ) from None
    if kind == "refused":
        raise UserError(content)
    if kind == "failed":
        raise RuntimeError(f"in a worker process:\n{content}")
    return content


def _stop(workers: list[_Worker], *, at_once: bool) -> None:
    """Lets idle workers end, or ends them at once; they remove what they had half-written."""
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


def _work(connection: Connection, setup: bytes) -> None:
    """What a worker does: writes the splits of each job that it receives, until the pipe is closed."""
    signal.signal(signal.SIGTERM, lambda *_: _end())  # unwinds, so that half-written folders are removed
    sys.unraisablehook = _unraisable
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tokenizers.set_encoding_threads(1)
    with contextlib.suppress(EOFError, ConnectionError):
        recipe, store = _guarded(connection, lambda: unpacked_setup(setup))
        while True:
            payload = connection.recv_bytes()
            for work in _guarded(connection, lambda payload=payload: unpacked(payload)):
                split = _guarded(connection, lambda work=work: _written(work, recipe, store))
                connection.send(("done", split))


def _written(work: SplitJob, recipe: PrepareConfig, store: TokenStore) -> PreparedSplit | None:
    """What ``write`` returns, or none where the task is found by a name that nothing registered in this process."""
    try:
        return write(work, recipe, store)
    except UnknownNameError:
        return None


def _unraisable(what: Any) -> None:
    """Prints what an object of C raised and nobody could catch, but for the end of the worker, which is no error."""
    if not isinstance(what.exc_value, SystemExit):
        sys.__unraisablehook__(what)


def _guarded(connection: Connection, action: Any) -> Any:
    """Returns what ``action`` returns; what it raises is sent to the parent, and ends the worker."""
    try:
        return action()
    except UserError as error:
        connection.send(("refused", str(error)))
    except Exception:
        connection.send(("failed", traceback.format_exc()))
    _end()


def _end() -> NoReturn:
    """Ends the worker, once: whoever ends it again while it unwinds would leave a traceback."""
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
