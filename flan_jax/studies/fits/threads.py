"""One thread for fits: their matrices are small, and threads that wait for each other cost more than they do."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keeps linear algebra to one thread, where threadpoolctl is installed (scikit-learn brings it)."""
    try:
        import threadpoolctl
    except ImportError:
        yield
        return
    with threadpoolctl.threadpool_limits(1):
        yield
