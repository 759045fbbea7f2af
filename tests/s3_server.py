"""A server that speaks S3, on loopback, for the tests of addresses; without its packages they are skipped."""

import contextlib
import secrets
import socket
from collections.abc import Iterator

import fsspec
import pytest

WITHOUT = "the extra s3-test is not installed: pip install 'flan-jax[s3-test]'"


@contextlib.contextmanager
def s3_bucket() -> Iterator[str]:
    """Yields the address of a new bucket; fsspec knows inside where the server is."""
    moto = pytest.importorskip("moto.server", reason=WITHOUT)
    pytest.importorskip("s3fs", reason=WITHOUT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=port)
    server.start()
    before = fsspec.config.conf.get("s3")
    fsspec.config.conf["s3"] = {
        "key": "k",
        "secret": "s",
        "client_kwargs": {"endpoint_url": f"http://127.0.0.1:{port}"},
    }
    try:
        bucket = f"bucket-{secrets.token_hex(4)}"  # what is in buckets outlives a server in one process
        fsspec.filesystem("s3").mkdir(bucket)
        yield f"s3://{bucket}"
    finally:
        fsspec.config.conf.pop("s3")
        if before is not None:
            fsspec.config.conf["s3"] = before
        server.stop()
