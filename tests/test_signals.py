"""A stop says what stands, in a line, and exits so that a loop on 75 goes on after SIGTERM and ends at Ctrl-C."""

import gc
import os
import signal
import subprocess
import sys
import time

import pytest

from flan_jax.signals import Interrupted, continues_from, handled, last_words


@pytest.mark.parametrize(
    ("signum", "step", "code", "says"),
    [
        (signal.SIGTERM, 7, 75, "stopped by SIGTERM: the checkpoint of step 7 is saved; run the same command again"),
        (signal.SIGTERM, None, 143, "stopped by SIGTERM: nothing was saved"),
        (signal.SIGINT, 7, 130, "stopped by Ctrl-C: the checkpoint of step 7 is saved; run the same command again"),
        (signal.SIGINT, None, 130, "stopped by Ctrl-C: nothing was saved"),
    ],
)
def test_words_and_code(signum: int, step: int | None, code: int, says: str) -> None:
    with continues_from(lambda: step):
        words, found = last_words(signum)
    assert found == code
    assert words.startswith(says)
    assert "\n" not in words
    assert last_words(signum)[1] == 128 + signum  # outside nothing stands


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_raises_where_python_is(signum: int) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    def work() -> None:
        os.kill(os.getpid(), signum)
        time.sleep(10)

    with pytest.raises(Interrupted) as stopped, handled("nothing"):
        work()
    assert stopped.value.signum == signum
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_not_lost_in_a_callback(signum: int, capfd: pytest.CaptureFixture[str]) -> None:
    """Python drops what a callback of the garbage collector raises, and goes on."""

    def at_collection(phase: str, _: dict[str, int]) -> None:
        if phase == "stop" and at_collection in gc.callbacks:
            gc.callbacks.remove(at_collection)
            signal.raise_signal(signum)

    def work() -> None:
        gc.collect()  # which takes seconds where a process holds much
        time.sleep(60)

    gc.callbacks.append(at_collection)
    begun = time.monotonic()
    with pytest.raises(Interrupted) as stopped, handled("nothing"):
        work()
    assert stopped.value.signum == signum
    assert time.monotonic() - begun < 50
    assert not capfd.readouterr().err


def test_other_errors_of_callbacks_go_where_they_went(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[type] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: seen.append(unraisable.exc_type))

    class Broken:
        def __del__(self) -> None:
            raise ValueError("broken")

    with handled("nothing"):
        Broken()
    assert seen == [ValueError]


STUCK = """
from flan_jax import signals
signals.GRACE_S = 0.3
with signals.continues_from(lambda: {step}), signals.handled("nothing is left"):
    print("ready", flush=True)
    {stuck}
"""


@pytest.mark.parametrize(("step", "code"), [("4", 75), ("None", 143)])
def test_a_program_that_does_not_come_back_is_ended(step: str, code: int) -> None:
    """A C function that holds the main thread and lets other threads run, as XLA's compiler does."""
    stuck = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'x', b'y', 200_000_000)"
    script = STUCK.format(step=step, stuck=stuck)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - begun < 5
    assert process.returncode == code
    assert err.startswith("stopped by SIGTERM: ")
    assert len(err.splitlines()) == 1
