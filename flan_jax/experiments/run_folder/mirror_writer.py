"""One run at a time writes a copy at an address: a sign there names the process that does.

`writer.json` says machine, process and start of the writer, and is written anew while that lives. No store here can take a
lock in one step, so two that begin in the same second may both sign: the one whose sign is written over sees that before
its next upload, and uploads nothing more.
"""

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flan_jax.errors import UserError
from flan_jax.experiments.run_folder.address_files import AddressFiles
from flan_jax.experiments.run_folder.heartbeat import heartbeat
from flan_jax.experiments.run_folder.process_identity import lives_here, this_process
from flan_jax.experiments.run_folder.run_lock import DEAD_AFTER_S, RunHeldError

WRITER = "writer.json"
SIGN_EVERY_S = 20.0
SILENT_S = 4 * SIGN_EVERY_S
"""Without a new sign for so long, a writer on another machine is taken for dead. It is waited for, not computed from two
clocks, which may differ."""


class MirrorWriter:
    """The right of this process to write the copy at an address.

    Args:
        files: of the address.
        log: told in a sentence whom it takes over from, or waits for.
        silent_s: seconds after which a writer on another machine is taken for dead.
    """

    def __init__(self, files: AddressFiles, log: Callable[[str], None], *, silent_s: float = SILENT_S) -> None:
        self._files, self._log, self._silent_s = files, log, silent_s
        self._token, self._signs = secrets.token_hex(8), 0

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Signs inside, again and again.

        Raises:
            RunHeldError: another process writes there.
            UserError: the address takes nothing.
        """
        self._take()
        try:
            # An address may take nothing for a while; a new owner keeps its sign.
            with heartbeat(self._beat, every_s=self._silent_s / 4, name="mirror-writer", missed=UserError):
                yield
        finally:
            with contextlib.suppress(UserError):
                if self._read().get("token") == self._token:
                    self._files.remove(WRITER)

    def check(self) -> None:
        """Checks that nobody has taken over.

        Raises:
            RunHeldError: somebody has.
        """
        found = self._read()
        if found.get("token", self._token) != self._token:
            raise _held(self._files.shown, found)

    def _take(self) -> None:
        found = self._read()
        if found:
            if self._lives(found):
                raise _held(self._files.shown, found)
            self._log(
                f"taking over {self._files.shown} from a run that ended without a word (process {found.get('pid')} on "
                f"{found.get('host')}, since {found.get('since')})"
            )
        self._sign()
        self.check()

    def _lives(self, found: Mapping[str, Any]) -> bool:
        here = lives_here(found)
        if here is not None:
            return here
        if time.time() - float(found.get("time", 0)) > DEAD_AFTER_S:
            return False
        self._log(
            f"{self._files.shown} was last written by process {found.get('pid')} on {found.get('host')}; waiting up to "
            f"{self._silent_s:.0f} s for a sign of its life"
        )
        deadline = time.monotonic() + self._silent_s
        while time.monotonic() < deadline:
            time.sleep(min(5.0, self._silent_s / 8))
            now = self._read()
            if not now:  # it ended meanwhile, as it should
                return False
            if (now.get("token"), now.get("signs")) != (found.get("token"), found.get("signs")):
                return True
        return False

    def _beat(self) -> None:
        self.check()
        self._sign()

    def _sign(self) -> None:
        self._signs += 1
        sign = {**this_process(), "token": self._token, "signs": self._signs, "time": time.time()}
        self._files.write(json.dumps(sign), WRITER)

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._files.read(WRITER))
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _held(shown: str, owner: Mapping[str, Any]) -> RunHeldError:
    return RunHeldError(
        f"Another run is writing into {shown}: process {owner.get('pid')} on {owner.get('host')}, since "
        f"{owner.get('since')}. Wait for it or stop it, or name another address."
    )
