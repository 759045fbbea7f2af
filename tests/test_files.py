"""What is written is there whole or not at all; what a killed writer left goes; what a disk refuses is a sentence."""

import errno
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flan_jax import files
from flan_jax.errors import UserError
from flan_jax.files import (
    WritingError,
    atomic_dir,
    atomic_write_text,
    refusal,
    remove_leftovers,
    temporary_name,
    writing,
)


def test_a_file_has_its_name_when_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, order = tmp_path / "above" / "results.json", []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("rename"), replace(*paths)))
    atomic_write_text(path, "é\n")
    assert path.read_text(encoding="utf-8") == "é\n"
    assert order == ["fsync", "rename", "fsync"]  # the file, its name, the folder's list of names
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]


def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("first")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        UserError, match=r"manifest\.json' cannot be written: there is no space left\. .*Free some space"
    ):
        atomic_write_text(path, "second")
    assert path.read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["manifest.json"]


def test_a_limit_of_the_process_is_said_too(tmp_path: Path) -> None:
    """With a real limit, in a process of its own."""
    script = (
        "import resource, sys; from pathlib import Path; from flan_jax.files import atomic_write_text\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "atomic_write_text(Path(sys.argv[1]), 'x' * 5000)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "big")], capture_output=True, text=True)
    assert "WritingError" in ended.stderr
    assert "a file would be larger than" in ended.stderr
    assert not list(tmp_path.iterdir())
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_a_folder_replaces_another(tmp_path: Path) -> None:
    for content in ("1", "2"):
        with atomic_dir(tmp_path / "kept") as written:
            (written / "file").write_text(content)
    assert (tmp_path / "kept" / "file").read_text() == "2"

    def fail() -> None:
        with atomic_dir(tmp_path / "kept") as written:
            (written / "file").write_text("3")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "kept" / "file").read_text() == "2"
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    ours = temporary_name("results.json")
    of_dead = ours.replace(f".{os.getpid()}.", f".{dead.pid}.")
    elsewhere = of_dead.replace(f".{files._host()}.", ".another-machine.")
    old = elsewhere.replace(".another-machine.", ".a-machine-of-yesterday.")
    for name in (ours, of_dead, elsewhere, old, ".mine.tmp", "notes.tmp"):
        (tmp_path / name).write_text("half")
    (tmp_path / of_dead.replace("results", "folder")).mkdir()
    yesterday = time.time() - 25 * 3600
    os.utime(tmp_path / old, (yesterday, yesterday))
    remove_leftovers(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {ours, elsewhere, ".mine.tmp", "notes.tmp"}


def test_whoever_writes_there_next_removes_what_a_kill_left(tmp_path: Path) -> None:
    """A kill between a result's temporary file and its name; the folder is as if nothing had been."""
    script = (
        "import os, sys; from pathlib import Path; from flan_jax.files import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as path: path.write_text('half'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "results.json")]).returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    atomic_write_text(tmp_path / "results.json", "whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_the_name_of_what_is_written_has_room(tmp_path: Path) -> None:
    assert socket.gethostname()
    atomic_write_text(tmp_path / ("ä" * 120), "x")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.EROFS, "Read-only file system"), errno.EROFS),
        (ValueError("RESOURCE_EXHAUSTED: Failed to write [os_error_code='28']"), errno.ENOSPC),
        (OSError("IOError: [Errno 28] Error writing bytes to file. Detail: No space left on device"), errno.ENOSPC),
        (RuntimeError("INTERNAL: error: No space left on device"), errno.ENOSPC),
        (FileNotFoundError(errno.ENOENT, "x"), None),
        (ValueError("a fault of ours"), None),
    ],
)
def test_what_a_file_system_said(error: Exception, code: int | None) -> None:
    assert refusal(error) == code
    wrapped = RuntimeError("saving failed")
    wrapped.__cause__ = error
    assert refusal(wrapped) == code
    with pytest.raises(WritingError if code else type(error)), writing("predictions"):
        raise error


def test_an_error_that_nobody_foresaw_names_the_file() -> None:
    said = files.refused(PermissionError(errno.EACCES, "Permission denied", "/data/secret.jsonl"))
    assert (
        said
        == "'/data/secret.jsonl' may not be read or written by this user. Choose another place, or ask for the right to it."
    )
    assert files.refused(KeyError("x")) is None
