"""What was damaged on the disk is named and never read as other numbers; what was deleted by halves is not there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from run_tiny import TinyRun

from flan_jax.errors import UserError
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.checkpoint_config import CheckpointConfig
from flan_jax.train.checkpoint_stream import StoredParams
from flan_jax.train.checksums import CHECKSUMS
from flan_jax.train.state import TrainState
from flan_jax.train.step_folders import check_name


@pytest.fixture(scope="module")
def state(tiny_run: TinyRun) -> TrainState:
    return tiny_run.start()


@pytest.fixture(scope="module")
def whole(state: TrainState, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with Checkpointer(folder) as checkpointer:
        for step in (1, 2):
            checkpointer.save(step, state, {"drawn": step})
    return folder


@pytest.fixture
def directory(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def largest(step: Path) -> Path:
    return max((path for path in step.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip(step: Path) -> None:
    path = largest(step)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def forget_checksums(step: Path) -> None:
    """As an earlier version saved it."""
    (step / CHECKSUMS).unlink()
    run = step / "run" / "metadata"
    run.write_text(json.dumps({key: value for key, value in json.loads(run.read_text()).items() if key != "checksums"}))


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped": (flip, r"does not match its checksum"),
    "cut": (lambda step: largest(step).write_bytes(b"1"), r"has 1 bytes in the place of \d+"),
    "emptied": (lambda step: (step / "state" / "manifest.ocdbt").write_bytes(b""), r"manifest\.ocdbt has 0 bytes"),
    "deleted": (lambda step: (step / "data" / "metadata").unlink(), r"data/metadata is missing"),
    "one more": (lambda step: (step / "state" / "d" / "more").write_bytes(b"1"), r"more is none of its files"),
    "an item gone": (lambda step: shutil.rmtree(step / "state"), r"is missing"),
    "orbax's own": (lambda step: (step / "_CHECKPOINT_METADATA").write_text("{"), r"_CHECKPOINT_METADATA has 1 bytes"),
    "of another step": (
        lambda step: (shutil.rmtree(step), shutil.copytree(step.with_name("1"), step)),
        r"/2 holds step 1",
    ),
    "checksums gone": (lambda step: (step / CHECKSUMS).unlink(), r"checksums\.json is missing"),
    "checksums damaged": (lambda step: (step / CHECKSUMS).write_text("{}"), r"checksums\.json is no list of checksums"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_damage_is_named_when_it_is_read(harm: str, directory: Path, state: TrainState) -> None:
    do, sentence = HARMS[harm]
    do(directory / "2")
    with Checkpointer(directory, create=False) as checkpointer:
        for read in (
            lambda: checkpointer.restore(state),
            lambda: checkpointer.restore_params(state.params, 2),
            lambda: checkpointer.config(2),
            lambda: StoredParams(directory),
        ):
            with pytest.raises(UserError, match=rf"step 2 is damaged: .*{sentence}.*step 1 is the newest") as caught:
                read()
            assert "\n" not in str(caught.value)
        assert checkpointer.restore(state, 1).data_position == {"drawn": 1}


@pytest.mark.parametrize("harm", ["flipped", "an item gone"])
def test_a_resumed_run_takes_the_newest_that_is_whole(
    harm: str, directory: Path, state: TrainState, caplog: pytest.LogCaptureFixture
) -> None:
    HARMS[harm][0](directory / "2")
    with Checkpointer(directory, CheckpointConfig(keep=1)) as checkpointer:
        assert checkpointer.latest_step() == 1
        assert checkpointer.restore(state).data_position == {"drawn": 1}
        checkpointer.save(2, state, {"drawn": 22})  # the damaged one is not in its way
        checkpointer.wait()
        assert checkpointer.restore(state).data_position == {"drawn": 22}
    assert caplog.messages[0].startswith("The checkpoint of step 2 is damaged (")
    assert "kept aside as damaged-2; the one of step 1 is used" in caplog.messages[0]
    assert sorted(path.name for path in directory.iterdir()) == ["2", "damaged-2"]


def test_a_folder_that_is_read_as_a_pattern_is_refused(tmp_path: Path) -> None:
    for name in ("[x]", "a[0-9]b"):
        with pytest.raises(UserError, match=r"the name '.*' in it is read as a pattern\..* without square brackets"):
            Checkpointer(tmp_path / name / "checkpoints")
        assert not (tmp_path / name).exists()
    for name in ("[", "a*b", "what?", "x]"):  # each matches itself
        assert check_name(tmp_path / name) == tmp_path / name


def test_where_none_is_whole_nothing_is_touched(directory: Path) -> None:
    before = sorted(directory.rglob("*"))
    for step in (1, 2):
        flip(directory / str(step))
    with pytest.raises(UserError, match=r"None of the checkpoints in .* is whole: .*/2/.* does not match its checksum"):
        Checkpointer(directory)
    assert sorted(directory.rglob("*")) == before


def test_one_without_checksums_is_read_and_said(
    directory: Path, state: TrainState, caplog: pytest.LogCaptureFixture
) -> None:
    forget_checksums(directory / "2")
    with Checkpointer(directory) as checkpointer:
        assert checkpointer.restore(state).data_position == {"drawn": 2}
        assert checkpointer.restore(state).data_position == {"drawn": 2}
    assert [message for message in caplog.messages if "has no checksums" in message] == caplog.messages[:1]


@pytest.mark.parametrize("name", ["state/_METADATA", "state/manifest.ocdbt", "data/metadata", "run/metadata"])
def test_what_orbax_cannot_read_is_a_sentence(name: str, directory: Path, state: TrainState) -> None:
    forget_checksums(directory / "2")
    (directory / "2" / name).write_bytes(b"\x00{")
    with (
        Checkpointer(directory, create=False) as checkpointer,
        pytest.raises(UserError, match=r"The checkpoint of step 2 in .* cannot be read: .*take another step") as caught,
    ):
        checkpointer.restore(state)
    assert "\n" not in str(caught.value)


def test_arrays_that_cannot_be_read_one_by_one_either(directory: Path) -> None:
    forget_checksums(directory / "2")
    # Which file holds an array is the writer's to decide, and so is the largest one.
    for path in [path for path in (directory / "2" / "state").rglob("d/*") if path.is_file()]:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cannot be read|has no parameter") as caught:
        StoredParams(directory, 2).read(("embedding",))
    assert "\n" not in str(caught.value)


def test_a_step_that_was_being_deleted_is_not_there(
    directory: Path, state: TrainState, caplog: pytest.LogCaptureFixture
) -> None:
    """Half-deleted as an earlier version left it (an empty folder), and as this one does."""
    shutil.rmtree(directory / "2")
    (directory / "2" / "state" / "d").mkdir(parents=True)
    (directory / ".deleted" / "0" / "state").mkdir(parents=True)
    (directory / ".deleted" / "0" / "state" / "left").write_text("1")
    with Checkpointer(directory, create=False) as reading:
        assert reading.steps() == [1]
        assert reading.latest_step() == 1
    with Checkpointer(directory) as checkpointer:
        assert checkpointer.latest_step() == 1
        checkpointer.save(2, state, {"drawn": 2})
    assert sorted(path.name for path in directory.iterdir()) == ["1", "2"]
    assert not caplog.messages


def test_deleting_takes_a_step_from_the_list_at_once(
    directory: Path, state: TrainState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flan_jax.train.checkpoint.purge", lambda *_: None)  # the process is killed before it
    with Checkpointer(directory, CheckpointConfig(keep=1)) as checkpointer:
        checkpointer.save(3, state, {})
    assert sorted(path.name for path in directory.iterdir()) == [".deleted", "3"]
    monkeypatch.undo()
    with Checkpointer(directory, CheckpointConfig(keep=1)):
        pass
    assert sorted(path.name for path in directory.iterdir()) == ["3"]


@pytest.mark.parametrize("keep", [1, 2])
def test_a_step_that_is_withdrawn_leaves_the_one_before(keep: int, tmp_path: Path, state: TrainState) -> None:
    """Also where that one was deleted for it."""
    with Checkpointer(tmp_path, CheckpointConfig(keep=keep)) as checkpointer:
        for step in (1, 2):
            checkpointer.save(step, state, {"drawn": step})
        assert checkpointer.withdraw(2, "diverged") == 1
        assert checkpointer.restore(state).data_position == {"drawn": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "diverged-2"]


def test_a_save_that_fails_leaves_nothing(directory: Path, state: TrainState, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with Checkpointer(directory) as checkpointer:
        monkeypatch.setattr("flan_jax.train.checksums.write_checksums", full)
        checkpointer.save(3, state, {})
        with pytest.raises(
            UserError, match=r"no space left\. The checkpoint of step 2 is whole\. Free some space"
        ) as caught:
            checkpointer.wait()
        assert "\n" not in str(caught.value)
        monkeypatch.undo()
        checkpointer.save(4, state, {})
    assert sorted(path.name for path in directory.iterdir()) == ["1", "2", "4"]


def test_params_come_back_bit_for_bit(directory: Path, state: TrainState) -> None:
    with Checkpointer(directory, create=False) as checkpointer:
        read = checkpointer.restore_params(state.params)
    jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, (read, state.params)))
