"""Signs of life that a process gives while it holds something."""

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def heartbeat(sign: Callable[[], object], *, every_s: float, name: str, missed: type[Exception]) -> Iterator[None]:
    """Gives a sign again and again inside, in a thread that has ended when this returns.

    Args:
        sign: gives one.
        every_s: seconds between two.
        name: of the thread.
        missed: what ``sign`` raises where one could not be given; the next is tried all the same.
    """
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(every_s):
            with contextlib.suppress(missed):
                sign()

    thread = threading.Thread(target=beat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
