"""Notice of work that makes no progress while its process lives: a device that hangs, a file system that does not answer."""

import threading
import time
from collections.abc import Callable
from types import TracebackType


class StallWatch:
    """Calls back, once and in a thread of its own, when no progress was heard of for too long. A context.

    Leaving it waits for a callback that was begun.

    Args:
        after_s: seconds without progress; 0 watches nothing.
        on_stall: called with the seconds.
    """

    def __init__(self, after_s: float, on_stall: Callable[[float], None]) -> None:
        self._after_s, self._on_stall = after_s, on_stall
        self._last = time.monotonic()
        self._lock, self._ended = threading.Lock(), threading.Event()

    def progress(self) -> None:
        """Takes note of progress."""
        self._last = time.monotonic()

    def __enter__(self) -> "StallWatch":
        self.progress()
        if self._after_s > 0:
            threading.Thread(target=self._watch, name="stall-watch", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        with self._lock:
            pass

    def _watch(self) -> None:
        while not self._ended.wait(max(self._last + self._after_s - time.monotonic(), 0.01)):
            with self._lock:
                silent = time.monotonic() - self._last
                if self._ended.is_set() or silent < self._after_s:
                    continue
                self._on_stall(silent)
                return
