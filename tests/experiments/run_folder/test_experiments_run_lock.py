"""One run at a time writes into a folder; the lock of one that crashed is taken over, and said."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flan_jax.errors import UserError
from flan_jax.experiments.run_folder import run_lock
from flan_jax.experiments.run_folder.process_identity import boot
from flan_jax.experiments.run_folder.process_identity import started as started_at
from flan_jax.experiments.run_folder.run_lock import LOCK

HOLDS = """
import os, sys, time
from pathlib import Path
os.environ["JAX_PLATFORMS"] = "cpu"
from flan_jax.experiments.run_folder.run_lock import run_lock
with run_lock(Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(60)
"""


def held(folder: Path, said: list[str] | None = None) -> None:
    with run_lock.run_lock(folder, (said if said is not None else []).append):
        assert (folder / LOCK).is_file()


def signed(folder: Path, age_s: float = 0.0, **owner: object) -> None:
    path = folder / LOCK
    path.write_text(json.dumps({"host": socket.gethostname(), "boot": boot(), "since": "noon", **owner}))
    os.utime(path, (time.time() - age_s,) * 2)


def test_a_living_owner_is_named_and_a_killed_one_succeeded(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        sentence = f"Another run is writing into .*: process {process.pid} on {socket.gethostname()}, since .*another MODEL_DIR"
        with pytest.raises(UserError, match=sentence):
            held(tmp_path)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    said: list[str] = []
    held(tmp_path, said)
    assert len(said) == 1
    assert f"a run that ended without a word (process {process.pid} on" in said[0]
    assert not list(tmp_path.iterdir())


def test_twice_in_one_process(tmp_path: Path) -> None:
    with run_lock.run_lock(tmp_path, print), pytest.raises(UserError, match=f"process {os.getpid()} on"):
        held(tmp_path)
    held(tmp_path)


@pytest.mark.parametrize(
    ("owner", "age_s", "lives"),
    [
        ({"host": "elsewhere", "boot": "x", "pid": 1}, 0, True),
        ({"host": "elsewhere", "boot": "x", "pid": 1}, run_lock.DEAD_AFTER_S + 60, False),
        ({"boot": "an earlier one", "pid": os.getpid()}, 0, True),  # or another machine of this name
        ({"boot": "an earlier one", "pid": os.getpid()}, run_lock.SILENT_S + 60, False),
        ({"pid": os.getpid(), "started": "0"}, 0, False),  # the system's lock is free
    ],
)
def test_who_is_taken_for_dead(owner: dict, age_s: float, lives: bool, tmp_path: Path) -> None:
    signed(tmp_path, age_s, **owner)
    said: list[str] = []
    if lives:
        with pytest.raises(UserError, match="Another run is writing"):
            held(tmp_path, said)
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == owner["pid"]
    else:
        held(tmp_path, said)
        assert len(said) == 1


@pytest.mark.parametrize(("started", "lives"), [(None, True), ("0", False)])
def test_where_the_file_system_has_no_locks(
    started: str | None, lives: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number and the start of the process decide: numbers are given again."""
    monkeypatch.setattr(run_lock, "_flock", lambda descriptor: None)
    signed(tmp_path, pid=os.getpid(), started=started_at(os.getpid()) if started is None else started)
    if lives:
        with pytest.raises(UserError, match="Another run is writing"):
            held(tmp_path)
    else:
        held(tmp_path)


def test_a_record_that_was_cut_short(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text('{"host": ')
    held(tmp_path)


def test_the_heart_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "HEARTBEAT_S", 0.02)
    with run_lock.run_lock(tmp_path, print):
        os.utime(tmp_path / LOCK, (0, 0))
        deadline = time.monotonic() + 5
        while (tmp_path / LOCK).stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / LOCK).stat().st_mtime > 0
