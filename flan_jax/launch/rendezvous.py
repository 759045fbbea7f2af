"""The meeting of the processes of a run before JAX connects them: who is there, and whether they are of one run.

Process 0 listens at the coordinator's address and the others call it, each with a line of JSON that says its number, how
many it expects and what it runs (code, configuration, versions, clock). Whatever is wrong is one sentence, in every
process that came. The connections stay open: through them a process learns that another one has ended (``link``).
"""

import contextlib
import dataclasses
import errno
import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from flan_jax.errors import UserError
from flan_jax.launch.membership import Membership

Log = Callable[[str], None]
Message = dict[str, Any]

CLOCK_S = 60.0
"""Clocks may be so far apart: locks and heartbeats of a run's folder compare times."""
SAY_EVERY_S = 5.0
_RETRY_S = 0.2
_LONGEST = 1 << 22


class Line:
    """A connection that lines of JSON go through."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._rest = b""
        self._sending = threading.Lock()
        self.unread: list[Message] = []
        connection.setblocking(True)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # A machine without power says nothing: the connection ends by itself after half a minute.
        for name, value in (
            ("TCP_KEEPIDLE", 10),
            ("TCP_KEEPINTVL", 5),
            ("TCP_KEEPCNT", 4),
            ("TCP_USER_TIMEOUT", 30_000),
        ):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends a message; what has ended on the other side is found by reading."""
        data = (json.dumps(message) + "\n").encode()
        with self._sending, contextlib.suppress(OSError):
            self.socket.sendall(data)

    def received(self) -> list[Message] | None:
        """Returns the messages that have come; ``None`` where the other side has ended, or speaks another language."""
        if self.unread:
            messages, self.unread = self.unread, []
            return messages
        try:
            data = self.socket.recv(1 << 16)
        except OSError:
            return None
        self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        try:
            messages = [json.loads(line) for line in lines]
        except ValueError:
            return None
        whole = all(isinstance(message, dict) for message in messages) and len(self._rest) < _LONGEST
        return messages if whole and (data or messages) else None

    def close(self) -> None:
        """Ends the connection."""
        self.socket.close()


@dataclasses.dataclass
class Peer:
    """Another process, as it introduced itself.

    Attributes:
        process: its number.
        host: the name of its machine.
        line: to it.
    """

    process: int
    host: str
    line: Line

    def __str__(self) -> str:
        return f"Process {self.process} on {self.host}"


def meet(
    place: Membership, identity: Mapping[str, str], *, timeout_s: float, log: Log = lambda line: None
) -> dict[int, Peer]:
    """Waits until all processes are there and of one run.

    Args:
        place: of this one.
        identity: what must be equal in all of them: the name of each thing → its text.
        timeout_s: for all to come.
        log: told every few seconds who is missing.

    Returns:
        The connections: of process 0 those to all others, of another the one to process 0.

    Raises:
        UserError: one did not come in time, ended before all were there, or is of another run.
    """
    hello = {
        "flan_jax": 1,
        "process": place.process_id,
        "count": place.count,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "identity": dict(identity),
    }
    deadline = time.monotonic() + timeout_s
    if place.process_id == 0:
        return _Meeting(place, identity, deadline, timeout_s, log).peers()
    return {0: _called(place, hello, deadline, timeout_s, log)}


class _Meeting:
    """Process 0's side."""

    def __init__(
        self, place: Membership, identity: Mapping[str, str], deadline: float, timeout_s: float, log: Log
    ) -> None:
        self._place, self._identity, self._deadline = place, identity, deadline
        self._timeout_s, self._log = timeout_s, log
        self._peers: dict[int, Peer] = {}
        self._unknown: list[Line] = []
        self._selector = selectors.DefaultSelector()

    def peers(self) -> dict[int, Peer]:
        """Waits for all of them, and lets them go on."""
        with _listening(self._place) as server, self._selector:
            self._selector.register(server, selectors.EVENT_READ, None)
            said = time.monotonic()
            while self._missing():
                left = self._deadline - time.monotonic()
                if left <= 0:
                    self._refuse(
                        f"{self._listed(self._missing())} of {self._place.count} did not come within {self._timeout_s:g} s. Start "
                        f"{'it' if len(self._missing()) == 1 else 'them'} with the same --coordinator, or wait longer "
                        "(--join_timeout)."
                    )
                for key, _ in self._selector.select(min(left, 0.5)):
                    self._take(server, key.data)
                if time.monotonic() - said > SAY_EVERY_S:
                    said = time.monotonic()
                    self._log(f"waiting for {self._listed(self._missing())} of {self._place.count}")
        for peer in self._peers.values():
            peer.line.send({"go": True})
        for line in self._unknown:
            line.close()
        return self._peers

    def _take(self, server: socket.socket, line: Line | None) -> None:
        if line is None:
            connection, _ = server.accept()
            line = Line(connection)
            self._unknown.append(line)
            self._selector.register(connection, selectors.EVENT_READ, line)
            return
        messages = line.received()
        known = next((peer for peer in self._peers.values() if peer.line is line), None)
        if messages is None:
            self._selector.unregister(line.socket)
            line.close()
            if known is not None:
                del self._peers[known.process]
                self._refuse(f"{known} ended before all processes were there. Its own last words say why.")
            if line in self._unknown:
                self._unknown.remove(line)
            return
        for message in messages:
            if known is None and message.get("flan_jax") == 1:
                known = self._joined(line, message)

    def _joined(self, line: Line, hello: Message) -> Peer:
        peer = Peer(hello["process"], hello["host"], line)
        wrong = self._wrong(peer, hello)
        if wrong:
            self._refuse(wrong)
        line.send({"time": time.time()})
        self._peers[peer.process] = peer
        self._unknown.remove(line)
        return peer

    def _wrong(self, peer: Peer, hello: Message) -> str:
        """Says why a process is none of this run's; ``""`` where it is."""
        count, here = self._place.count, socket.gethostname()
        if hello["count"] != count:
            return (
                f"{peer} expects {hello['count']} processes (--num_processes), and process 0 on {here} expects {count}. Start all "
                "with the same number."
            )
        if peer.process == 0 or peer.process in self._peers:
            other = str(self._peers.get(peer.process, f"process 0 on {here}"))
            return (
                f"Two processes have the number {peer.process} (--process_id): {other}, and one on {peer.host} (pid "
                f"{hello['pid']}). Give each its own."
            )
        apart = abs(time.time() - hello["time"])
        if apart > CLOCK_S:
            return (
                f"The clocks of {peer.host} and {here} are {apart:,.0f} s apart, and files of a run are told alive by their time. "
                "Set the clocks (NTP)."
            )
        for name, text in self._identity.items():
            if hello["identity"].get(name) != text:
                found = _first_difference(hello["identity"].get(name, ""), text)
                return f"{peer} has another {name} than process 0 on {here}: {found}. All processes of a run must have the same."
        return ""

    def _refuse(self, sentence: str) -> None:
        for line in [*(peer.line for peer in self._peers.values()), *self._unknown]:
            line.send({"refused": sentence})
            line.close()
        raise UserError(sentence)

    def _missing(self) -> list[int]:
        return [number for number in range(1, self._place.count) if number not in self._peers]

    def _listed(self, missing: list[int]) -> str:
        shown = ", ".join(map(str, missing[:8])) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
        return f"process{'es' if len(missing) > 1 else ''} {shown}"


def _first_difference(theirs: str, ours: str) -> str:
    """Quotes the first line in which two texts differ."""
    one, other = theirs.splitlines(), ours.splitlines()
    for number in range(max(len(one), len(other))):
        mine, its = (lines[number] if number < len(lines) else "nothing" for lines in (other, one))
        if mine != its:
            return f"{its.strip()[:120]!r} there, {mine.strip()[:120]!r} here"
    return "they differ"


def _listening(place: Membership) -> socket.socket:
    """The socket at which process 0 waits.

    Raises:
        UserError: the port is taken, or may not be used.
    """
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    # JAX listens at the same port as soon as all are there, while these connections are still open.
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(("", place.port))
        server.listen(place.count + 8)
    except OSError as error:
        server.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"Port {place.port} of this machine is taken by another program, or by another process 0. Choose another port in "
                "--coordinator, for all processes, or stop what has it."
            ) from error
        raise UserError(
            f"Process 0 cannot listen at port {place.port}: {error.strerror}. Choose another port in --coordinator."
        ) from error
    return server


def _called(place: Membership, hello: Message, deadline: float, timeout_s: float, log: Log) -> Peer:
    """Calls process 0 until it answers, and waits until all are there."""
    said, why = time.monotonic(), ""
    while True:
        if time.monotonic() >= deadline:
            raise UserError(
                f"Process 0 does not answer at {place.address}: {why}, for {timeout_s:g} s. Start it there, give the address at which "
                "it is (--coordinator), or wait longer (--join_timeout)."
            )
        try:
            connection = socket.create_connection(
                (place.host, place.port), timeout=max(_RETRY_S, deadline - time.monotonic())
            )
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            if time.monotonic() - said > SAY_EVERY_S:
                said = time.monotonic()
                log(f"waiting for process 0 at {place.address}: {why}")
            time.sleep(_RETRY_S)
            continue
        line = Line(connection)
        line.send({**hello, "time": time.time()})
        outcome = _answer(line, deadline)
        if outcome is not None:
            if outcome:
                raise UserError(outcome)
            return Peer(0, place.host, line)
        line.close()
        why = "what is there ended the connection without a word, or does not speak as process 0 does"
        time.sleep(_RETRY_S)


def _answer(line: Line, deadline: float) -> str | None:
    """Returns ``""`` once all are there, a sentence where they never will be, ``None`` where the other side is not process 0."""
    answered = False
    while True:
        # Process 0 has the same time limit, and says more: it is given a little longer.
        line.socket.settimeout(max(0.1, deadline - time.monotonic()) + (2.0 if answered else 0.0))
        messages = line.received()
        if messages is None:
            return "Process 0 ended before all processes were there. Its own last words say why." if answered else None
        for number, message in enumerate(messages):
            if "refused" in message:
                return str(message["refused"])
            if message.get("go"):
                line.socket.settimeout(None)
                line.unread = messages[number + 1 :]
                return ""
            answered = answered or "time" in message
