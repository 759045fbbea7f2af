"""Who writes at an address: refused by name, waited for, taken over from, and nothing uploaded by the one that lost it."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_bucket import memory_bucket

from flan_jax.experiments.run_folder.address_files import AddressFiles
from flan_jax.experiments.run_folder.mirror import RunMirror
from flan_jax.experiments.run_folder.mirror_writer import WRITER, MirrorWriter
from flan_jax.experiments.run_folder.process_identity import this_process
from flan_jax.experiments.run_folder.run_lock import RunHeldError

SILENT_S = 0.4


@pytest.fixture
def files() -> Iterator[AddressFiles]:
    with memory_bucket() as address:
        yield AddressFiles(f"{address}/run", "copy of a run", pause_s=0)


def sign(files: AddressFiles, **changes: object) -> None:
    content = {**this_process(), "host": "elsewhere", "token": "theirs", "signs": 1, "time": time.time(), **changes}
    files.write(json.dumps(content), WRITER)


def writer(files: AddressFiles, said: list[str]) -> MirrorWriter:
    return MirrorWriter(files, said.append, silent_s=SILENT_S)


def test_the_sign_is_there_while_it_is_held(files: AddressFiles) -> None:
    with writer(files, []).held():
        first = json.loads(files.read(WRITER))
        assert first["pid"] == this_process()["pid"]
        deadline = time.monotonic() + 30
        while json.loads(files.read(WRITER))["signs"] == first["signs"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    with pytest.raises(FileNotFoundError):
        files.read(WRITER)


def test_a_process_of_this_machine_that_ended_is_taken_over_from_at_once(files: AddressFiles) -> None:
    said: list[str] = []
    sign(files, host=this_process()["host"], started="0")
    with writer(files, said).held():
        pass
    assert len(said) == 1
    assert said[0].startswith("taking over kept://bucket/run from a run that ended without a word (process ")


def test_another_machine_s_is_waited_for(files: AddressFiles) -> None:
    said: list[str] = []
    sign(files)
    with writer(files, said).held():
        pass
    assert [line.split(" ")[0] for line in said] == ["kept://bucket/run", "taking"]
    said.clear()
    sign(files, time=0)
    with writer(files, said).held():
        pass
    assert [line.split(" ")[0] for line in said] == ["taking"], "a sign of long ago is not waited for"


def test_another_machine_s_that_lives_is_named(files: AddressFiles) -> None:
    sign(files)
    alive = threading.Timer(SILENT_S / 4, sign, (files,), {"signs": 2})
    alive.start()
    with pytest.raises(RunHeldError, match=r"Another run is writing into kept://bucket/run: process \d+ on elsewhere"):
        writer(files, [])._take()
    alive.join()
    assert json.loads(files.read(WRITER))["token"] == "theirs", "its sign stays"


def test_who_has_lost_the_address_uploads_nothing_and_leaves_the_other_s_sign(
    files: AddressFiles, tmp_path: Path
) -> None:
    (tmp_path / "manifest.json").write_text('{"config": {}, "tasks": {}}')
    mirror = RunMirror(files.shown, tmp_path, pause_s=0)
    with mirror.writer.held():
        sign(files)
        with pytest.raises(RunHeldError, match="on elsewhere"):
            mirror.upload()
    assert mirror.index() is None
    assert json.loads(files.read(WRITER))["token"] == "theirs"
