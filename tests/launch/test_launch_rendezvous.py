"""The meeting of several processes, each a thread here: that all come together, and a sentence for whatever goes wrong."""

import json
import socket
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flan_jax.errors import UserError
from flan_jax.launch import distributed
from flan_jax.launch import membership as membership_module
from flan_jax.launch.link import Link
from flan_jax.launch.membership import Membership, check_reachable, membership
from flan_jax.launch.rendezvous import Peer, meet

SAME = {"code": "a.py 1\nb.py 2", "configuration": "run.seed = 0"}
LONG = 20.0


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def outcome(port: int, process: int, count: int, identity: Mapping[str, str], timeout_s: float) -> Any:
    try:
        return meet(Membership("127.0.0.1", port, process, count), identity, timeout_s=timeout_s)
    except UserError as error:
        return str(error)


def meeting(port: int, *processes: tuple[int, int, Mapping[str, str]], timeout_s: float = LONG) -> list[Any]:
    """Process → its connections, or the sentence that it ended with."""
    with ThreadPoolExecutor(len(processes)) as threads:
        futures = [threads.submit(outcome, port, *each, timeout_s) for each in processes]
        return [future.result() for future in futures]


class Run:
    """Processes that have met, and what each was told of the end of another."""

    def __init__(self, port: int, count: int) -> None:
        self.ended: list[list[tuple[str, int | None]]] = [[] for _ in range(count)]
        self.told = [threading.Event() for _ in range(count)]
        peers = meeting(port, *((number, count, SAME) for number in range(count)))
        self.links = [Link(Membership("127.0.0.1", port, n, count), peers[n], self._note(n)) for n in range(count)]

    def _note(self, number: int) -> Any:
        def ended(sentence: str, code: int | None) -> None:
            self.ended[number].append((sentence, code))
            self.told[number].set()

        return ended

    def all(self, call: Any) -> list[Any]:
        """Calls it with every link at the same time: result, or the sentence of the refusal."""

        def safely(link: Link) -> Any:
            try:
                return call(link)
            except UserError as error:
                return str(error)

        with ThreadPoolExecutor(len(self.links)) as threads:
            return list(threads.map(safely, self.links))


def test_processes_meet_work_in_order_agree_and_part(port: int) -> None:
    run, order = Run(port, 3), []
    assert run.all(lambda link: link.first_alone("prepare", lambda: order.append(link.place.process_id))) == [None] * 3
    assert order[0] == 0
    assert sorted(order) == [0, 1, 2]
    assert run.all(lambda link: link.agree("devices", "1 × cpu", "{}")) == [None] * 3
    said = run.all(lambda link: link.agree("more", "8" if link.place.process_id != 1 else "7", "Differ: {}."))
    assert said == ["Differ: process 1 has 7, and others have 8."] * 3
    run.all(lambda link: link.close())
    assert run.ended == [[], [], []]


@pytest.mark.parametrize("dies", [0, 1])
def test_all_hear_of_a_process_that_ends_without_a_word(port: int, dies: int) -> None:
    run = Run(port, 3)
    began = time.monotonic()
    run.links[dies]._closing = True  # it says nothing any more
    for peer in run.links[dies]._peers.values():
        peer.line.socket.shutdown(socket.SHUT_RDWR)  # as the system does for a process that was killed
    others = [number for number in range(3) if number != dies]
    for number in others:
        assert run.told[number].wait(LONG)
        ((sentence, code),) = run.ended[number]
        assert sentence.startswith(f"Process {dies} on ")
        assert sentence.endswith("has ended without a word, and the run cannot go on without it.")
        assert code is None
    assert time.monotonic() - began < LONG
    waiting = next(number for number in others if number)
    with pytest.raises(UserError, match="ended without a word"):
        run.links[waiting].first_alone("prepare", lambda: None)


def test_who_has_done_its_part_does_not_wait_for_what_is_gone(port: int) -> None:
    run = Run(port, 2)
    run.links[0]._closing = run.links[1]._closing = True
    run.links[1]._peers[0].line.socket.shutdown(socket.SHUT_RDWR)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(run.links[0].close).result(LONG)
    assert run.ended == [[], []]


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])  # XLA raises the one, and for Gloo's errors the other
def test_what_fails_for_want_of_a_process_says_that_it_has_gone(
    kind: type[Exception], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A computation of both fails before the news comes: it is the news that is said, not the failure."""
    run = Run(port, 2)
    monkeypatch.setattr(distributed._CURRENT, "link", run.links[1])
    monkeypatch.setattr(run.links[1], "fail", lambda sentence, code: run.ended[1].append((sentence, code)))
    monkeypatch.setattr(distributed, "_ended", lambda sentence, code: None)  # it would end this process
    monkeypatch.setattr(distributed, "_NEWS_S", LONG)
    run.links[0]._closing = True
    threading.Timer(0.1, run.links[0]._peers[1].line.socket.shutdown, (socket.SHUT_RDWR,)).start()
    with pytest.raises(kind, match="connection closed"), distributed.failing_together():
        raise kind("connection closed by peer")
    assert run.told[1].is_set()
    assert "has ended without a word" in run.ended[1][0][0]


def test_a_fault_of_this_process_is_shown_where_it_is_whatever_is_closed_behind_it(
    port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(port, 2)
    monkeypatch.setattr(distributed._CURRENT, "link", run.links[1])
    monkeypatch.setattr(distributed, "_ended", lambda sentence, code: None)  # it would end this process
    monkeypatch.setattr(distributed, "_NEWS_S", 0.1)
    with pytest.raises(TypeError), distributed.failing_together():
        raise TypeError("a date without a zone")
    shown = capsys.readouterr().err
    assert "in test_a_fault_of_this_process" in shown
    assert shown.endswith("TypeError: a date without a zone\n")


@pytest.mark.parametrize("fails", [0, 2])
def test_all_hear_why_a_process_fails(port: int, fails: int) -> None:
    run = Run(port, 3)
    run.links[fails].fail("the disk is full.", 2)
    for number in {0, 1, 2} - {fails}:
        assert run.told[number].wait(LONG)
        assert run.ended[number] == [(f"Process {fails} has stopped: the disk is full.", 2)]


@pytest.mark.parametrize(
    ("processes", "says"),
    [
        (
            [(0, 2, SAME), (1, 3, SAME)],
            r"Process 1 on .* expects 3 processes \(--num_processes\), and process 0 .* 2\. Start",
        ),
        (
            [(0, 3, SAME), (1, 3, SAME), (1, 3, SAME)],
            r"Two processes have the number 1 \(--process_id\): Process 1 on .*pid",
        ),
        (
            [(0, 2, SAME), (1, 2, {**SAME, "code": "a.py 1\nb.py 3"})],
            r"Process 1 on .* has another code than process 0 .*: 'b.py 3' there, 'b.py 2' here",
        ),
        (
            [(0, 2, SAME), (1, 2, {**SAME, "configuration": "run.seed = 1"})],
            r"another configuration than process 0 .*: 'run.seed = 1' there, 'run.seed = 0' here",
        ),
    ],
    ids=["count", "number", "code", "gin"],
)
def test_what_does_not_fit_is_one_sentence_in_every_process(port: int, processes: Any, says: str) -> None:
    said = meeting(port, *processes)
    assert len(set(said)) == 1
    with pytest.raises(UserError, match=says):
        raise UserError(said[0])


def test_who_does_not_come_is_named(port: int) -> None:
    said = meeting(port, (0, 4, SAME), (2, 4, SAME), timeout_s=0.6)
    assert said[0] == said[1]
    assert said[0].startswith("processes 1, 3 of 4 did not come within 0.6 s. Start them with the same --coordinator")


def test_a_coordinator_that_is_not_there_is_named(port: int) -> None:
    (said,) = meeting(port, (1, 2, SAME), timeout_s=0.5)
    assert said.startswith(f"Process 0 does not answer at 127.0.0.1:{port}: connection refused, for 0.5 s.")


def test_a_port_that_is_taken_is_named(port: int) -> None:
    with socket.socket() as other:
        other.bind(("", port))
        other.listen()
        (said,) = meeting(port, (0, 2, SAME))
    assert said.startswith(f"Port {port} of this machine is taken by another program")


def hello(port: int, process: int, **other: Any) -> socket.socket:
    """A process that says its hello, by hand."""
    deadline = time.monotonic() + LONG
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=LONG)
            break
        except OSError:
            assert time.monotonic() < deadline
    message = {"flan_jax": 1, "process": process, "count": 3, "host": "far", "pid": 7, "identity": SAME}
    connection.sendall((json.dumps({**message, "time": time.time(), **other}) + "\n").encode())
    return connection


def test_a_process_that_ends_before_all_are_there_ends_the_meeting(port: int) -> None:
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(outcome, port, 0, 3, SAME, LONG)
        connection = hello(port, 1)
        assert connection.recv(100)  # it was taken in
        connection.close()
        assert first.result().startswith("Process 1 on far ended before all processes were there.")


def test_clocks_that_are_apart_are_named(port: int) -> None:
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(outcome, port, 0, 3, SAME, LONG)
        hello(port, 1, time=time.time() - 3600).close()
        assert first.result().startswith("The clocks of far and ")


def test_strangers_do_not_disturb(port: int) -> None:
    with ThreadPoolExecutor(3) as threads:
        futures = [threads.submit(outcome, port, number, 2, SAME, LONG) for number in (0,)]
        stranger = hello(port, 1, flan_jax=0)
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        futures.append(threads.submit(outcome, port, 1, 2, SAME, LONG))
        first, second = (future.result() for future in futures)
    stranger.close()
    assert isinstance(first[1], Peer)
    assert isinstance(second[0], Peer)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((None, 1, 2), "--coordinator is missing"),
        (("node0:8476", None, None), "--process_id and --num_processes is missing"),
        (("node0:8476", 2, 2), "numbered from 0 to 1"),
        (("node0", 0, 2), "'node0'; it must be HOST:PORT"),
        (("node0:99999", 0, 2), "a port below 65536"),
    ],
)
def test_incomplete_options_are_refused(given: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        membership(*given, timeout_s=1, environment={})


def test_the_place_of_a_process_comes_from_options_or_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    assert membership(None, None, None, timeout_s=1, environment={}) is None
    assert membership("node0:8476", 0, 1, timeout_s=1, environment={}) is None
    assert membership("[::1]:8476", 1, 2, timeout_s=1, environment={}) == Membership("::1", 8476, 1, 2)
    launched = {"JAX_COORDINATOR_ADDRESS": "127.0.0.1:1234", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
    assert membership(None, None, None, timeout_s=1, environment=launched) == Membership("127.0.0.1", 1234, 1, 2)
    slurm = {
        "SLURM_JOB_ID": "77", "SLURM_STEP_NODELIST": "node[3-4]", "SLURM_NTASKS": "2", "SLURM_PROCID": "1",
        "SLURM_LOCALID": "0", "SLURM_STEP_NUM_TASKS": "2",
    }  # fmt: skip
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    found = membership(None, None, None, timeout_s=1)
    assert found is not None
    assert (found.host, found.process_id, found.count, found.local_devices) == ("node3", 1, 2, (0,))


def test_a_name_that_means_another_machine_on_each_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.1.1", 8476))]
    monkeypatch.setattr(membership_module.socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(UserError, match=r"'node0', which is 127.0.1.1 on this machine: a loopback address"):
        check_reachable(Membership("node0", 8476, 0, 2))
    check_reachable(Membership("localhost", 8476, 0, 2))
