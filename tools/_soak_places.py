"""Where a run that is disturbed keeps its files: a disk that can be filled, and a bucket whose connections break."""

import asyncio
import contextlib
import errno
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Literal

Mode = Literal["pass", "drop", "refuse", "slow"]
BALLOON = "balloon"
_INSIDE = "FLAN_JAX_SOAK_INSIDE"
_BUCKET = "soak"
_CHUNK = 1 << 16


def in_own_namespace() -> str:
    """Starts this program anew where it may mount a disk that nobody else sees; returns why that cannot be, or nothing.

    A namespace of mounts is a matter of root, or, where the kernel allows it, of any user in a namespace of users.
    """
    if os.environ.get(_INSIDE):
        return ""
    words = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    if shutil.which("unshare") is None:
        return "unshare (util-linux) is not on the path"
    tried = subprocess.run([*words, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True)
    if tried.returncode:
        return f"this machine lets nobody mount a disk of their own: {tried.stderr.strip()}"
    os.environ[_INSIDE] = "1"
    sys.stdout.flush()
    os.execvp(words[0], [*words, sys.executable, *sys.argv])


class SmallDisk:
    """A file system in memory, small enough to be filled, mounted inside ``in_own_namespace``."""

    def __init__(self, folder: Path, mib: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)], check=True)

    def fill(self) -> int:
        """Takes all that is left of it; returns the bytes."""
        taken = 0
        with (self.folder / BALLOON).open("ab", buffering=0) as balloon:
            try:
                while True:
                    taken += balloon.write(bytes(1 << 20))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        return taken

    def free(self) -> None:
        """Gives it back."""
        (self.folder / BALLOON).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmounts it, with all that is in it; later than at once where a process that was killed is still ending."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class Bucket:
    """A server of S3 (moto's) on loopback, behind a proxy that breaks connections when it is told to.

    Attributes:
        mode: `pass`; `drop` breaks connections in their midst, `refuse` breaks each at once, `slow` holds every piece
            back for a moment.
        broken: connections that were broken.
    """

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self.mode: Mode = "pass"
        self.broken = 0
        self._draw, self._server_port = draw, free_port()
        code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{self._server_port}'])"
        with (folder / "moto.log").open("w") as log:
            self._server = subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log)
        started = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True).start()
        if not started.wait(30):
            sys.exit("the proxy before the bucket does not start")
        self._wait_for_server()
        self.address = f"s3://{_BUCKET}/run"

    def environment(self) -> dict[str, str]:
        """The variables by which fsspec finds it."""
        return {"FSSPEC_S3": json.dumps(self.options())}

    def options(self) -> dict[str, object]:
        """What fsspec's configuration says of `s3`."""
        return {"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": f"http://127.0.0.1:{self._port}"}}

    def close(self) -> None:
        """Ends the server."""
        self._server.terminate()
        self._server.wait()

    def _wait_for_server(self) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self._server_port}/{_BUCKET}", method="PUT")
        for _ in range(300):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(request).close()
                return
            time.sleep(0.1)
        sys.exit("moto's server does not answer; its words are in moto.log")

    async def _serve(self, started: threading.Event) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        started.set()
        await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "refuse":
            self._break(writer)
            return
        try:
            there, to = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            self._break(writer)
            return
        await asyncio.gather(self._pass_on(reader, to, writer), self._pass_on(there, writer, to))

    async def _pass_on(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, other: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(_CHUNK):
                if self.mode == "slow":
                    await asyncio.sleep(self._draw.uniform(0, 1))
                if self.mode == "refuse" or (self.mode == "drop" and self._draw.random() < 0.3):
                    with contextlib.suppress(OSError):
                        target.write(piece[: len(piece) // 2])
                    self._break(target)
                    other.close()
                    return
                target.write(piece)
                await target.drain()
        target.close()

    def _break(self, writer: asyncio.StreamWriter) -> None:
        self.broken += 1
        writer.transport.abort()


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
