"""The processes of a run while it runs: what the first one does alone, what all must agree on, and the end of one of them.

A process that ends without a word (killed, out of memory, its machine gone) would leave the others waiting in the middle
of a computation. Here each hears of it from the connection that ends: at once where the process died, within half a minute
where its machine did (``rendezvous.Line``).
"""

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flan_jax.errors import UserError
from flan_jax.launch.membership import Membership
from flan_jax.launch.rendezvous import Message, Peer

Result = TypeVar("Result")
Ended = Callable[[str, int | None], None]
"""Called from another thread where the run cannot go on, with a sentence, and with the exit code of the process that has
failed, or ``None`` where one is gone; a real one ends the process."""


class Link:
    """The connections of a process to the others of its run, watched by a thread.

    Args:
        place: of this process.
        peers: as ``rendezvous.meet`` returns them.
        ended: told that another process has failed or is gone.
    """

    def __init__(self, place: Membership, peers: Mapping[int, Peer], ended: Ended) -> None:
        self.place, self._peers, self._ended = place, dict(peers), ended
        self._changed = threading.Condition()
        self._values: dict[str, dict[int, str]] = {}
        self._answers: dict[str, str] = {}
        self._done: set[int] = set()
        self._over = ""
        self._closing = False
        for peer in self._peers.values():
            threading.Thread(target=self._watch, args=(peer,), name="processes", daemon=True).start()

    # --- working together ----------------------------------------------------------------------------------------------

    def first_alone(self, name: str, function: Callable[[], Result]) -> Result:
        """Calls a function in process 0, and then in the others, which find done what it did.

        Args:
            name: of the work; each is used once.
            function: of the same work in all of them.

        Raises:
            UserError: another process has failed.
        """
        if self.place.process_id:
            self._wait(lambda: name in self._answers)
            return function()
        result = function()
        self._tell({"answer": name, "text": ""})
        return result

    def agree(self, name: str, value: str, sentence: str) -> None:
        """Compares a value of all processes.

        Args:
            name: of the value; each is used once.
            value: of this process.
            sentence: what to say where they differ; ``{}`` in it becomes who has what.

        Raises:
            UserError: they differ, or another process has failed.
        """
        if self.place.process_id:
            self._tell({"value": name, "text": value})
            self._wait(lambda: name in self._answers)
            if self._answers[name]:
                raise UserError(self._answers[name])
            return
        self._wait(lambda: len(self._values.get(name, {})) == self.place.count - 1)
        values = {0: value, **self._values[name]}
        # Who stands alone with a value is named with it, beside what most have.
        usual = max(values.values(), key=lambda one: (list(values.values()).count(one), one == value))
        odd = next((number for number, one in sorted(values.items()) if one != usual), None)
        wrong = "" if odd is None else sentence.format(f"process {odd} has {values[odd]}, and others have {usual}")
        self._tell({"answer": name, "text": wrong})
        if wrong:
            raise UserError(wrong)

    # --- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Says that this process has done its part, and waits for the others to say so."""
        self._closing = True
        self._tell({"bye": True})
        with contextlib.suppress(UserError):
            self._wait(lambda: len(self._done) == len(self._peers))
        self._hang_up()

    def listen(self, seconds: float) -> bool:
        """Waits so long for news that another process has ended, and tells whether it came: this one ends in the meantime then."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._over), seconds)

    def fail(self, sentence: str, code: int) -> None:
        """Says to all others that this process has failed, and its exit code; they end with the same."""
        if self._closing:
            return
        self._closing = True
        self._tell({"failed": f"Process {self.place.process_id} has stopped: {sentence}", "code": code})
        self._hang_up()

    def _hang_up(self) -> None:
        for peer in self._peers.values():
            peer.line.close()

    # --- messages ------------------------------------------------------------------------------------------------------

    def _tell(self, message: Mapping[str, Any], but: int | None = None) -> None:
        for peer in self._peers.values():
            if peer.process != but:
                peer.line.send(message)

    def _wait(self, until: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._over) or until())
            if self._over and not until():
                raise UserError(self._over)

    def _watch(self, peer: Peer) -> None:
        """Reads what a process says, until it ends."""
        while (messages := peer.line.received()) is not None:
            for message in messages:
                self._take(peer, message)
        if self._closing:  # this one has done its part, and need not wait for what is gone
            with self._changed:
                self._done.add(peer.process)
                self._changed.notify_all()
        elif peer.process not in self._done:
            sentence = f"{peer} has ended without a word, and the run cannot go on without it."
            self._end(peer, {"failed": sentence, "code": None})

    def _take(self, peer: Peer, message: Message) -> None:
        with self._changed:
            if "value" in message:
                self._values.setdefault(message["value"], {})[peer.process] = message["text"]
            elif "answer" in message:
                self._answers[message["answer"]] = message["text"]
            elif message.get("bye"):
                self._done.add(peer.process)
            self._changed.notify_all()
        if "failed" in message:
            self._done.add(peer.process)
            self._end(peer, message)

    def _end(self, peer: Peer, message: Message) -> None:
        if self.place.process_id == 0:  # the others hear of each other from process 0 alone
            self._tell(message, but=peer.process)
        with self._changed:
            if self._over:
                return
            self._over = message["failed"]
            self._changed.notify_all()
        self._ended(message["failed"], message["code"])
