"""Several processes as one run: they meet, JAX connects their devices, and they end together."""

import contextlib
import ctypes
import itertools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn, TypeVar

from flan_jax import signals
from flan_jax.errors import UserError
from flan_jax.launch.link import Link
from flan_jax.launch.membership import Membership, check_reachable
from flan_jax.launch.rendezvous import Log, meet

Result = TypeVar("Result")
WRONG_INPUT, OUR_FAULT = 2, 1
LAST_S = 10.0
"""So long a process that has failed may take to end."""
_NEWS_S = 4.0
"""So long after a failure it is waited for the news that another process ended, which then is the cause; less than the
delay of ``_let_last_words_be_said``."""
_JAX_NOTICES_S = 300
"""JAX's own time limit for a process that says nothing, and then all are aborted; ours is shorter (``rendezvous.Line``), and
knows a process that ended from one that waits: a machine may be suspended or overloaded for minutes."""


class _Current:
    """The link of this process, while it is one of several."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.works = itertools.count()


_CURRENT = _Current()


@contextlib.contextmanager
def joined(place: Membership, identity: Mapping[str, str], *, timeout_s: float, log: Log) -> Iterator[Link]:
    """Joins this process with the others of its run; inside, JAX sees the devices of all.

    Where one of them fails or is gone, all end: what fails says so to the others, and of what is gone they hear from the
    connection that ends.

    Args:
        place: of this process.
        identity: what must be equal in all of them.
        timeout_s: for all to come.
        log: told who is missing.

    Raises:
        UserError: not all came, or one of them is of another run.
    """
    check_reachable(place)
    link = Link(place, meet(place, identity, timeout_s=timeout_s, log=log), _ended)
    _CURRENT.link = link
    try:
        _connect_devices(link, timeout_s)
        with failing_together():
            yield link
        _disconnect_devices()
    except BaseException as error:
        link.fail(*_words(error))
        raise
    link.close()
    _CURRENT.link = None


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
    """Tells the other processes of what is raised inside, before anything is closed that would wait for them.

    What is closed behind it has ``LAST_S`` to come to its end.
    """
    try:
        yield
    except BaseException as error:
        if _CURRENT.link is not None:
            # A computation fails at once where a process is gone in its middle, with a RuntimeError, a ValueError or what
            # orbax makes of them.
            unexpected = isinstance(error, Exception) and not isinstance(error, UserError)
            if unexpected and not _CURRENT.link.listen(_NEWS_S):
                # It began here. What is closed behind it may fail in other words, and those alone would be seen.
                traceback.print_exception(error)
            sentence, code = _words(error)
            _CURRENT.link.fail(sentence, code)
            last = threading.Timer(LAST_S, _ended, (sentence, code))
            last.daemon = True
            last.start()
        raise


def is_joined() -> bool:
    """Tells whether this process is, or was when it failed, one of several: its way out would wait for the others."""
    return _CURRENT.link is not None


def first_alone(function: Callable[[], Result]) -> Result:
    """Calls a function in process 0 first, and when that is done in all others; where there is one, calls it.

    Raises:
        UserError: another process has failed.
    """
    if _CURRENT.link is None:
        return function()
    return _CURRENT.link.first_alone(f"work {next(_CURRENT.works)}", function)


def check_same(name: str, value: str, sentence: str) -> None:
    """Checks that a value is the same in all processes; where there is one, it is.

    Args:
        name: of the value.
        value: of this process.
        sentence: what to say where they differ; ``{}`` in it becomes who has what.

    Raises:
        UserError: they differ, or another process has failed.
    """
    if _CURRENT.link is not None:
        _CURRENT.link.agree(f"{name} {next(_CURRENT.works)}", value, sentence)


def _connect_devices(link: Link, timeout_s: float) -> None:
    import jax

    place = link.place
    _let_last_words_be_said()
    try:
        jax.distributed.initialize(
            place.address,
            num_processes=place.count,
            process_id=place.process_id,
            local_device_ids=place.local_devices,
            initialization_timeout=max(30, int(timeout_s)),
            heartbeat_timeout_seconds=_JAX_NOTICES_S,
        )
        devices = jax.local_devices()
    except RuntimeError as error:
        first = str(error).strip().splitlines()[0][:200]
        raise UserError(f"JAX cannot connect process {place.process_id} at {place.address}: {first}") from error
    link.agree(
        "devices",
        f"{len(devices)} × {devices[0].device_kind}",
        "The processes see other devices: {}. Make the same visible to each (CUDA_VISIBLE_DEVICES, or the launcher's options).",
    )


def _let_last_words_be_said() -> None:
    """Delays an abort of this process by six seconds.

    Where process 0 is gone, JAX's client aborts the others with a stack trace, at the same moment at which they hear of it
    here: what they have to say, and their exit code, come first this way. The handler is libc's ``sleep``, which takes the
    signal's number, 6, for the seconds: Python's own handlers would have to wait for the main thread.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.signal.restype = ctypes.c_void_p
    libc.signal(signal.SIGABRT, ctypes.cast(libc.sleep, ctypes.c_void_p))


def _disconnect_devices() -> None:
    import jax

    jax.distributed.shutdown()


def _words(error: BaseException) -> tuple[str, int]:
    """Returns what the other processes are told of the one that fails, and its exit code."""
    if isinstance(error, UserError):
        return str(error), WRONG_INPUT
    if isinstance(error, KeyboardInterrupt):
        signum = getattr(error, "signum", 2)
        return f"stopped by {signals.name_of(signum)}", 128 + signum
    return (
        f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else ''}",
        OUR_FAULT,
    )


def _ended(sentence: str, code: int | None) -> NoReturn:
    """Ends this process, which may be in the middle of a computation that never ends."""
    standing = signals.standing()
    if code is None:
        code = OUR_FAULT if standing is None else signals.TEMPORARY_FAILURE
    print(f"error: {sentence}{f' In its folder {standing}.' if standing else ''}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(code)
