"""SIGTERM and Ctrl-C: what they end at once, what is finished first, and what the process says and exits with.

The one place that decides exit codes of a stop: 75 (EX_TEMPFAIL) after SIGTERM where a checkpoint stands to continue
from, else 128 + the signal's number: 143 after SIGTERM, and 130 after Ctrl-C wherever it comes, so that a loop that runs
a command again on 75 can be stopped by hand. Standard library only; every layer may import it.
"""

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

TEMPORARY_FAILURE = 75
GRACE_S = 5.0
"""After so long a signal ends the process also where Python does not come to it, as while a program is compiled."""
AGAIN_S = 0.05
"""After so long a signal is sent again whose exception Python has dropped."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Newest = Callable[[], int | str | None]
"""Asked what a command would continue from: the step of a checkpoint, or the words for it; None where there is nothing."""


class Interrupted(KeyboardInterrupt):
    """SIGTERM or Ctrl-C came where nothing has to be finished first.

    Attributes:
        signum: of the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(name_of(signum))
        self.signum = signum


class _Watch:
    """The state that the handlers of this process and the thread that watches over them share."""

    def __init__(self) -> None:
        self.newest: Newest | None = None
        self.deferring = False
        self.reacted = threading.Event()


_WATCH = _Watch()


def name_of(signum: int) -> str:
    """Returns what people call a signal."""
    return "Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name


@contextlib.contextmanager
def continues_from(newest: Newest) -> Iterator[None]:
    """Inside, a stop says which checkpoint stands, and exits so that the command may be run again."""
    earlier, _WATCH.newest = _WATCH.newest, newest
    try:
        yield
    finally:
        _WATCH.newest = earlier


def standing() -> str | None:
    """Says what the same command would continue from; ``None`` where nothing stands."""
    step = _WATCH.newest() if _WATCH.newest is not None else None
    if step is None:
        return None
    saved = step if isinstance(step, str) else f"the checkpoint of step {step} is saved"
    return f"{saved}; run the same command again to continue from it"


def last_words(signum: int, otherwise: str = "nothing was saved") -> tuple[str, int]:
    """Returns what to say of a stop, in a line, and the exit code.

    Args:
        signum: what stopped the process.
        otherwise: what is left where no checkpoint stands.
    """
    words = standing()
    if words is None:
        return f"stopped by {name_of(signum)}: {otherwise}", 128 + signum
    code = TEMPORARY_FAILURE if signum == signal.SIGTERM else 128 + signum
    return f"stopped by {name_of(signum)}: {words}", code


def defer(yes: bool) -> None:
    """Says whether work is under way that a signal must let finish: then nobody ends the process in its middle."""
    _WATCH.deferring = yes


def interrupt(signum: int) -> NoReturn:
    """Raises `Interrupted`, from a handler of the main thread."""
    _WATCH.reacted.set()
    raise Interrupted(signum)


@contextlib.contextmanager
def handled(otherwise: str) -> Iterator[None]:
    """Inside, SIGTERM and Ctrl-C raise `Interrupted`; in a program that does not come back to Python, they end it.

    Elsewhere than in the main thread nothing is changed: no other may set handlers.

    Args:
        otherwise: what the process says is left, where it has to say it without unwinding.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    _WATCH.reacted.clear()
    earlier = {signum: signal.signal(signum, _raise) for signum in _SIGNALS}
    earlier_fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    earlier_hook = sys.unraisablehook
    sys.unraisablehook = functools.partial(_send_again, earlier_hook)
    thread = threading.Thread(target=_watch, args=(reading, otherwise), name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        sys.unraisablehook = earlier_hook
        signal.set_wakeup_fd(earlier_fd)
        for signum, handler in earlier.items():
            signal.signal(signum, handler)
        os.close(writing)  # which ends the thread
        thread.join(GRACE_S)
        os.close(reading)


def _raise(signum: int, _: FrameType | None) -> None:
    interrupt(signum)


def _send_again(otherwise: Callable[[Any], Any], unraisable: "sys.UnraisableHookArgs") -> None:
    """Sends a signal again that came in a callback, such as one of the garbage collector's: Python goes on behind those.

    Not from here, where the exception would be dropped as well, but a moment later from another thread.
    """
    if isinstance(unraisable.exc_value, Interrupted):
        again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), unraisable.exc_value.signum))
        again.daemon = True
        again.start()
    else:
        otherwise(unraisable)


def _watch(reading: int, otherwise: str) -> None:
    """Ends the process where a signal came and Python's own handler does not get its turn."""
    interrupts = 0
    while received := os.read(reading, 64):
        for signum in received:
            if signum not in _SIGNALS:
                continue
            interrupts += signum == signal.SIGINT
            if _WATCH.deferring and interrupts < 2:
                continue
            if not _WATCH.reacted.wait(GRACE_S):
                words, code = last_words(signum, otherwise)
                print(words, file=sys.stderr, flush=True)
                os._exit(code)
