"""The copy of a run's folder: whole at every moment, in spite of kills and failures, and what another machine goes on from."""

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from s3_server import s3_bucket

from flan_jax import files
from flan_jax.errors import UserError
from flan_jax.experiments.run_folder.mirror import INDEX, OBJECTS, RunMirror
from flan_jax.experiments.run_folder.mirroring import mirrored


class Flaky(MemoryFileSystem):
    """fsspec's memory, which fails where a test says so."""

    protocol = "flaky"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    before: ClassVar[Callable[[str, str], None]] = staticmethod(lambda operation, path: None)

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("flaky://"))

    def put_file(self, local, path, *args, **kwargs):
        Flaky.before("put", path)
        return super().put_file(local, path, *args, **kwargs)

    def pipe_file(self, path, value, *args, **kwargs):
        Flaky.before("put", path)
        return super().pipe_file(path, value, *args, **kwargs)

    def get_file(self, path, local, *args, **kwargs):
        super().get_file(path, local, *args, **kwargs)
        Flaky.before("get", str(local))


@pytest.fixture(autouse=True)
def flaky(monkeypatch: pytest.MonkeyPatch) -> type[Flaky]:
    if "flaky" not in fsspec.available_protocols():
        fsspec.register_implementation("flaky", Flaky)
    monkeypatch.setattr(Flaky, "store", {})
    monkeypatch.setattr(Flaky, "pseudo_dirs", [""])
    monkeypatch.setattr(Flaky, "before", staticmethod(lambda operation, path: None))
    return Flaky


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_bucket() as address:
        yield f"{address}/runs/first"


def run_folder(folder: Path, *, step: int) -> Path:
    """A run's folder as it lies there after so many steps, the last two of which are saved."""
    for saved in (step - 1, step):
        checkpoint = folder / "checkpoints" / str(saved)
        (checkpoint / "state").mkdir(parents=True, exist_ok=True)
        (checkpoint / "state" / "arrays").write_bytes(bytes([saved]) * 1000)
        (checkpoint / "_METADATA").write_text("{}")
    shutil.rmtree(folder / "checkpoints" / str(step - 2), ignore_errors=True)
    (folder / "checkpoints" / f"{step + 1}.orbax-checkpoint-tmp").mkdir(exist_ok=True)
    (folder / "checkpoints" / f"{step + 1}.orbax-checkpoint-tmp" / "arrays").write_text("half")
    (folder / "manifest.json").write_text('{"config": {}, "tasks": {}}')
    (folder / "metrics.jsonl").write_text("".join(f'{{"step": {number + 1}}}\n' for number in range(step)))
    (folder / "report.html").write_text(f"<p>step {step}")
    (folder / "run.lock").write_text("mine")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """What of a folder is in its copy."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "tmp" not in str(path.relative_to(folder)) and path.name != "run.lock"
    }


def copied(url: str, folder: Path) -> RunMirror:
    mirror = RunMirror(url, folder, pause_s=0)
    mirror.restore()
    mirror.upload()
    return mirror


def there_and_back(url: str, tmp_path: Path) -> None:
    here, elsewhere = run_folder(tmp_path / "here", step=2), tmp_path / "elsewhere"
    mirror = copied(url, here)
    assert (found := mirror.index()) is not None
    assert found["step"] == 2
    lines: list[str] = []
    RunMirror(url, elsewhere, lines.append, pause_s=0).restore()
    assert content(elsewhere) == content(here)
    assert lines == [f"fetching step 2 of the run from {url}"]
    # It goes on there; and back here, the farther one is taken.
    copied(url, run_folder(elsewhere, step=3))
    (here / "launch.json").write_text("of another program")
    RunMirror(url, here, pause_s=0).restore()
    assert content(here) == content(elsewhere) | {"launch.json": b"of another program"}
    files = fsspec.core.url_to_fs(url)[0]
    assert files.cat_file(f"{url}/report.html") == b"<p>step 3"
    named = {entry["digest"] for entry in json.loads(files.cat_file(f"{url}/{INDEX}"))["files"].values()}
    files.invalidate_cache()
    assert {path.rsplit("/", 1)[-1] for path in files.ls(f"{url}/{OBJECTS}", detail=False)} == named, "old ones go"


def test_there_and_back(tmp_path: Path) -> None:
    there_and_back("flaky://bucket/run", tmp_path)


def test_there_and_back_on_s3(bucket: str, tmp_path: Path) -> None:
    there_and_back(bucket, tmp_path)


@pytest.mark.parametrize("survives", range(7))
def test_an_upload_that_is_killed_leaves_the_copy_before(survives: int, flaky: type[Flaky], tmp_path: Path) -> None:
    here, elsewhere = run_folder(tmp_path / "here", step=2), tmp_path / "elsewhere"
    copied("flaky://bucket/run", here)
    before = content(here)
    left = [None] * survives

    def killed(operation: str, path: str) -> None:
        if operation == "put" and not left:
            raise KeyboardInterrupt
        left[:1] = []

    flaky.before = staticmethod(killed)
    mirror = RunMirror("flaky://bucket/run", here, pause_s=0)
    mirror.index()
    done = False
    try:
        run_folder(here, step=3)
        mirror.upload()
        done = True
    except KeyboardInterrupt:
        pass
    flaky.before = staticmethod(lambda operation, path: None)
    index = RunMirror("flaky://bucket/run", elsewhere, pause_s=0)
    index.restore()
    assert content(elsewhere) in (before, content(here))
    assert done or content(elsewhere) == before or (index.index() or {})["step"] == 3
    copied("flaky://bucket/run", here)
    shutil.rmtree(elsewhere)
    index.restore()
    assert content(elsewhere) == content(here)


def test_checkpoints_that_a_run_deletes_while_they_are_uploaded_are_in_the_copy(
    flaky: type[Flaky], tmp_path: Path
) -> None:
    """An upload may take longer than the run keeps a checkpoint."""
    here, elsewhere = run_folder(tmp_path / "here", step=2), tmp_path / "elsewhere"
    before = content(here)

    def delete(operation: str, path: str) -> None:
        shutil.rmtree(here / "checkpoints" / "1", ignore_errors=True)
        shutil.rmtree(here / "checkpoints" / "2", ignore_errors=True)

    flaky.before = staticmethod(delete)
    copied("flaky://bucket/run", here)
    flaky.before = staticmethod(lambda operation, path: None)
    RunMirror("flaky://bucket/run", elsewhere, pause_s=0).restore()
    there = content(elsewhere)
    there.pop("mirror.json")
    assert there == before
    assert not [path.name for path in here.iterdir() if path.name.startswith(".")], "links go when they are uploaded"


def test_what_fails_is_tried_again(flaky: type[Flaky], tmp_path: Path) -> None:
    failures = {"put": 4, "get": 4}

    def fail(operation: str, path: str) -> None:
        if failures[operation]:
            failures[operation] -= 1
            if operation == "get":
                Path(path).write_bytes(b"cut")
            else:
                raise ConnectionResetError("dropped")

    here = run_folder(tmp_path / "here", step=2)
    flaky.before = staticmethod(fail)
    copied("flaky://bucket/run", here)
    RunMirror("flaky://bucket/run", tmp_path / "elsewhere", pause_s=0).restore()
    assert failures == {"put": 0, "get": 0}
    assert content(tmp_path / "elsewhere") == content(here)
    failures["put"] = failures["get"] = 10**6
    run_folder(here, step=3)
    with pytest.raises(
        UserError, match=r"flaky://bucket/run/objects/\w+ cannot be written, tried 5 times \(Conn.*dropped"
    ):
        copied("flaky://bucket/run", here)
    with pytest.raises(UserError, match="what came is not what was written: 3 bytes"):
        RunMirror("flaky://bucket/run", tmp_path / "third", pause_s=0).restore()
    assert not (tmp_path / "third").exists(), "nothing half-fetched is left"


def test_an_address_that_takes_nothing_hinders_no_training(flaky: type[Flaky], tmp_path: Path) -> None:
    def refuse(operation: str, path: str) -> None:
        raise PermissionError("denied")

    flaky.before = staticmethod(refuse)
    here = run_folder(tmp_path / "here", step=2)
    mirror = RunMirror("flaky://bucket/run", here, pause_s=0)
    with pytest.raises(UserError, match="denied"), mirrored(mirror, look_every_s=1000):
        run_folder(here, step=3)
    with pytest.raises(ZeroDivisionError), mirrored(mirror, look_every_s=1000):
        _ = 1 / 0
    flaky.before = staticmethod(lambda operation, path: None)
    with mirrored(mirror, look_every_s=1000):
        run_folder(here, step=4)
    assert (mirror.index() or {})["step"] == 4


def test_two_runs_do_not_mix(tmp_path: Path) -> None:
    copied("flaky://user:secret@bucket/run", run_folder(tmp_path / "here", step=2))
    with pytest.raises(UserError, match=r"^flaky://bucket/run holds the copy of another run than .*other"):
        copied("flaky://user:secret@bucket/run", run_folder(tmp_path / "other", step=5))


def test_addresses_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"Unknown protocol 'flakey'. Did you mean 'flaky'.*The copy of a run is flakey"
    ):
        RunMirror("flakey://bucket/run", tmp_path)
    fsspec.core.url_to_fs("flaky://x")[0].pipe_file("/bucket/run/run.json", b"no json")
    with pytest.raises(UserError, match="is no list of a run's files"):
        RunMirror("flaky://bucket/run", tmp_path, pause_s=0).restore()


def test_a_folder_is_an_address_too_and_its_list_is_replaced_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk in the midst of the list leaves the one before."""
    monkeypatch.chdir(tmp_path)
    run = run_folder(tmp_path / "run", step=4)
    mirror = RunMirror("shared/first", run, pause_s=0)
    mirror.upload()
    index = tmp_path / "shared" / "first" / "run.json"
    before = index.read_bytes()

    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run_folder(run, step=5)
    monkeypatch.setattr(files, "atomic_write_text", full)
    with pytest.raises(UserError, match="cannot be written, tried 5 times"):
        mirror.upload()
    monkeypatch.undo()
    assert index.read_bytes() == before
    elsewhere = tmp_path / "elsewhere"
    RunMirror(str(tmp_path / "shared" / "first"), elsewhere).restore()
    assert sorted(path.name for path in (elsewhere / "checkpoints").iterdir()) == ["3", "4"]
