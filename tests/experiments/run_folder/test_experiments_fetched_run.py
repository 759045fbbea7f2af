"""A run at an address as others read it: what they need is fetched, their results lie beside the run's list until it takes them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_bucket import Kept, memory_bucket

from flan_jax.errors import UserError
from flan_jax.experiments.run_folder.fetched_run import fetch_run, results_returned
from flan_jax.experiments.run_folder.mirror import RunMirror
from flan_jax.experiments.run_folder.staging import STAGING, staging_folder


@pytest.fixture(autouse=True)
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(STAGING, str(tmp_path / "staging"))
    return tmp_path / "staging"


@pytest.fixture
def address() -> Iterator[str]:
    with memory_bucket() as bucket:
        yield f"{bucket}/runs/first"


def run_folder(folder: Path, *steps: int) -> RunMirror:
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    for step in steps:
        (folder / "checkpoints" / str(step)).mkdir(parents=True)
        (folder / "checkpoints" / str(step) / "arrays").write_bytes(bytes([step]) * 1000)
    (folder / "manifest.json").write_text('{"config": {}, "tasks": {}}')
    (folder / "metrics.jsonl").write_text(f'{{"step": {max(steps)}}}\n')
    return RunMirror("kept://bucket/runs/first", folder, pause_s=0)


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def measure(address: str, step: int, text: str) -> Path:
    mirror = fetch_run(address, step=step)
    with results_returned(mirror):
        result = mirror.folder / "eval" / str(step) / "results.json"
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text(text)
    return mirror.folder


def test_one_checkpoint_is_fetched_once(address: str, tmp_path: Path) -> None:
    run_folder(tmp_path / "run", 2, 4).upload()
    got: list[str] = []
    Kept.before = staticmethod(lambda operation, path: got.append(path) if operation == "get" else None)
    folder = fetch_run(address, step=2).folder
    assert folder == staging_folder(address)
    assert checkpoints(folder) == ["2"]
    assert checkpoints(fetch_run(address).folder) == ["2", "4"]
    before = len(got)
    fetch_run(address)
    fetch_run(address, step=2)
    assert len(got) == before
    assert got


def test_a_checkpoint_that_the_run_took_back_is_not_the_newest(address: str, tmp_path: Path) -> None:
    mirror = run_folder(tmp_path / "run", 2, 4)
    mirror.upload()
    fetch_run(address)
    run_folder(tmp_path / "run", 2, 3)
    mirror.upload()
    assert checkpoints(fetch_run(address).folder) == ["3"]


def test_a_run_takes_what_others_measured_and_all_of_its_checkpoints(address: str, tmp_path: Path) -> None:
    run_folder(tmp_path / "run", 2, 4).upload()
    folder = measure(address, 2, "two")
    shutil.rmtree(folder)
    measure(address, 4, "four")
    assert (folder / "eval" / "2" / "results.json").read_text() == "two"
    names = [path for path in Kept.store if "/added/" in path]
    assert len(names) == 4, "two lists and two files"
    mirror = RunMirror(address, folder, pause_s=0)
    mirror.restore()
    assert checkpoints(folder) == ["2", "4"]
    assert not mirror.only_fetched()
    mirror.upload()
    assert not [path for path in Kept.store if "/added/" in path]
    assert {"eval/2/results.json", "eval/4/results.json", "checkpoints/2/arrays"} <= set(
        (mirror.index() or {})["files"]
    )


def test_the_folder_of_a_training_stays_as_it_is(address: str, staging: Path) -> None:
    folder = staging_folder(address)
    folder.mkdir(parents=True)
    run_folder(folder, 2).upload()
    run_folder(folder, 2, 4)
    (folder / "metrics.jsonl").write_text("farther")
    assert fetch_run(address).folder == folder
    assert checkpoints(folder) == ["2", "4"]
    assert (folder / "metrics.jsonl").read_text() == "farther"


def test_another_run_at_the_address_takes_the_place_of_what_was_fetched_and_not_of_what_was_trained(
    address: str, tmp_path: Path
) -> None:
    run_folder(tmp_path / "run", 2).upload()
    folder = fetch_run(address).folder
    Kept.store.clear()
    (tmp_path / "other").mkdir()
    run_folder(tmp_path / "other", 1).upload()
    assert checkpoints(fetch_run(address).folder) == ["1"]
    RunMirror(address, folder, pause_s=0).restore()
    Kept.store.clear()
    run_folder(tmp_path / "run", 5).upload()
    with pytest.raises(UserError, match="holds the copy of another run than"):
        fetch_run(address)


def test_results_that_do_not_come_to_the_address_are_named_and_kept(address: str, tmp_path: Path) -> None:
    run_folder(tmp_path / "run", 2).upload()

    def deny(operation: str, path: str) -> None:
        if operation == "put":
            raise PermissionError("denied")

    Kept.before = staticmethod(deny)
    folder = staging_folder(address)
    with pytest.raises(UserError, match=f"denied.* The results are in {folder}"):
        measure(address, 2, "two")
    Kept.before = staticmethod(lambda operation, path: None)
    RunMirror(address, folder, pause_s=0).restore()
    assert (folder / "eval" / "2" / "results.json").read_text() == "two"


def test_a_run_that_was_deleted_begins_anew(address: str, tmp_path: Path) -> None:
    run_folder(tmp_path / "run", 2).upload()
    folder = fetch_run(address).folder
    Kept.store.clear()
    RunMirror(address, folder, pause_s=0).restore()
    assert not folder.exists()


def test_addresses_have_folders_of_their_own() -> None:
    places = [
        "s3://a/runs/x",
        "s3://a/runs/y",
        "s3://b/runs/x",
        "gs://a/runs/x",
        "s3://a/runs/x[1]",
        "s3://a/runs/x_1_",
    ]
    folders = [staging_folder(place) for place in places]
    assert len(set(folders)) == len(places)
    assert folders[0].parent == folders[1].parent, "siblings share a store"
    assert staging_folder("s3://a/runs/x/") == folders[0]
    assert "[" not in folders[4].name
    assert json.dumps([path.name for path in folders[:2]]) == '["x", "y"]'
