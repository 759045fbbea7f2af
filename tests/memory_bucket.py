"""An address whose files are in this process's memory, under a protocol of its own: `memory://` is refused as a run's place."""

import contextlib
from collections.abc import Callable, Iterator
from typing import ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

PROTOCOL = "kept"


class Kept(MemoryFileSystem):
    """fsspec's memory, which refuses what a test says."""

    protocol = PROTOCOL
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    before: ClassVar[Callable[[str, str], None]] = staticmethod(lambda operation, path: None)

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix(f"{PROTOCOL}://"))

    def put_file(self, local, path, *args, **kwargs):
        Kept.before("put", path)
        return super().put_file(local, path, *args, **kwargs)

    def pipe_file(self, path, value, *args, **kwargs):
        Kept.before("put", path)
        return super().pipe_file(path, value, *args, **kwargs)

    def get_file(self, path, local, *args, **kwargs):
        Kept.before("get", path)
        return super().get_file(path, local, *args, **kwargs)


@contextlib.contextmanager
def memory_bucket() -> Iterator[str]:
    """Yields an address at which nothing is."""
    fsspec.register_implementation(PROTOCOL, Kept, clobber=True)
    Kept.store, Kept.pseudo_dirs = {}, [""]
    Kept.before = staticmethod(lambda operation, path: None)
    yield f"{PROTOCOL}://bucket"
    Kept.store, Kept.pseudo_dirs = {}, [""]
    Kept.before = staticmethod(lambda operation, path: None)
