"""``flan-jax`` without the wait for its imports: a process that has done them forks for every command.

JAX, Flax, Orbax, Grain and this package take two seconds to import, and a page of the guide runs a dozen commands.
The server here imports what ``flan-jax train`` imports; a script ``flan-jax`` hands it arguments, working folder,
environment and standard streams. What the server forks is the command: the same ``main``, a JAX without a backend,
empty registries, an end like any other. Forking is safe while no other Python thread is alive, which is looked at each
time; a command that hangs all the same is killed, and so fails.
"""

import array
import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

PATIENCE_S = 200
"""Seconds that a command may take."""

CLIENT = """#!{python} -IS
import array, json, os, socket, sys
request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    streams = array.array("i", [0, 1, 2])
    server.sendmsg([len(request).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
    server.sendall(request)
    code = server.recv(1)
sys.exit(code[0] if code else "the server of warm commands is gone")
"""


@contextlib.contextmanager
def warm_commands(environment: dict[str, str]) -> Iterator[Path]:
    """Starts the server, and gives a folder with a script ``flan-jax`` to be put in front of PATH.

    Args:
        environment: of the server. What libraries read when they are imported, they read here; a command has the
            environment that it is called with.
    """
    with tempfile.TemporaryDirectory(prefix="flan_jax_warm_") as folder:
        address = str(Path(folder) / "socket")
        script = Path(folder) / "flan-jax"
        script.write_text(CLIENT.format(python=sys.executable, address=address), encoding="utf-8")
        script.chmod(0o755)
        command = [sys.executable, __file__, address]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            assert server.stdout.readline(), "the server of warm commands does not start"
            try:
                yield Path(folder)
            finally:
                server.stdin.close()  # which ends it


def serve(address: str) -> None:
    """Imports, listens, forks for each request; returns in the child that is to run the command.

    The process ends with its input, so with the process that started it.
    """
    # And what it imports as late as it measures; no mixture and no task: commands register those.

    import scipy.stats  # noqa: F401

    import flan_jax.cli.console
    import flan_jax.cli.gin_config
    import flan_jax.experiments.evaluate
    import flan_jax.experiments.train  # noqa: F401

    gc.freeze()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listening, 0], [], [])
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if 0 in ready:
            sys.exit()
        client, _ = listening.accept()
        assert threading.active_count() == 1, "another thread is alive: a fork could hang"
        if os.fork() == 0:
            listening.close()
            _answer(client)
            return
        client.close()


def _answer(client: socket.socket) -> None:
    """Forks once more: the parent waits for the command and sends its exit code, the child returns to run it."""
    size = array.array("i").itemsize
    head, rights, _, _ = client.recvmsg(8, socket.CMSG_LEN(3 * size))
    streams = array.array("i", rights[0][2])
    with client.makefile("rb") as body:
        arguments, folder, environment = json.loads(body.read(int.from_bytes(head, "big")))
    command = os.fork()
    if command == 0:
        client.close()
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
            os.close(stream)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        # As the script of the environment has them.
        sys.argv = ["flan-jax", *arguments]
        sys.path[0] = str(Path(sys.executable).parent)
        return
    signal.signal(signal.SIGALRM, lambda signum, frame: os.kill(command, signal.SIGKILL))
    signal.alarm(PATIENCE_S)
    code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    client.sendall(bytes([code if code >= 0 else 128 - code]))
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
    from flan_jax.cli.main import main

    sys.exit(main())
