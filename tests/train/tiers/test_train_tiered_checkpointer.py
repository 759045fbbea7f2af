"""Two tiers of checkpoints: what lies in which, which one is gone on from, and that a damaged one is named."""

import logging
import shutil
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from run_tiny import TinyRun, batches

from flan_jax.errors import UserError
from flan_jax.files import WritingError
from flan_jax.train.checkpoint import Checkpointer
from flan_jax.train.checkpoint_config import CheckpointConfig
from flan_jax.train.loop import Preempted, fit
from flan_jax.train.state import TrainState
from flan_jax.train.step_folders import step_folders
from flan_jax.train.tiers.tiered_checkpointer import RECORD, newest_saved, open_checkpointer


@pytest.fixture(scope="module")
def state(tiny_run: TinyRun) -> TrainState:
    return tiny_run.start()


def options(tmp_path: Path, **changes: Any) -> CheckpointConfig:
    return CheckpointConfig(**{"period": 4, "local_dir": str(tmp_path / "fast"), "local_period": 2, **changes})


def fast(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "fast").iterdir()
    return folder


def steps(folder: Path) -> list[int]:
    return sorted(step_folders(folder))


def flip(step: Path) -> None:
    path = max((path for path in step.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


@pytest.fixture
def saved(state: TrainState, tmp_path: Path) -> Path:
    """Steps 2, 6, 8 (fast alone) and 4 (shared), of which the fast tier keeps the newest two."""
    shared = tmp_path / "run" / "checkpoints"
    with open_checkpointer(shared, options(tmp_path)) as checkpointer:
        for step in (2, 4, 6, 8):
            checkpointer.save(step, state, {"drawn": step}, lasting=step == 4)
            checkpointer.wait()
        assert checkpointer.steps() == [4, 6, 8]
    assert (steps(shared), steps(fast(tmp_path)), newest_saved(shared)) == ([4], [6, 8], 8)
    return shared


def drawn(shared: Path, state: TrainState, config: CheckpointConfig) -> int:
    with open_checkpointer(shared, config) as checkpointer:
        restored = checkpointer.restore(state)
        jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, (restored.state.params, state.params)))
        return restored.data_position["drawn"]


def test_the_newer_tier_wins(saved: Path, state: TrainState, tmp_path: Path) -> None:
    assert drawn(saved, state, options(tmp_path)) == 8
    with Checkpointer(saved) as checkpointer:  # as on another machine
        checkpointer.save(12, state, {"drawn": 12})
    assert drawn(saved, state, options(tmp_path)) == 12


def test_a_damaged_newer_tier_is_named_and_the_older_shared_one_used(
    saved: Path, state: TrainState, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip(fast(tmp_path) / "8")
    with caplog.at_level(logging.WARNING):
        assert drawn(saved, state, options(tmp_path)) == 6  # the other fast one is whole
    assert "The checkpoint of step 8 is damaged" in caplog.text
    assert "the one of step 6 is used" in caplog.text
    caplog.clear()
    flip(fast(tmp_path) / "6")
    with caplog.at_level(logging.WARNING):
        assert drawn(saved, state, options(tmp_path)) == 4
    assert f"kept aside as damaged-6; those in {str(saved)!r} are used." in caplog.text
    assert sorted(path.name for path in fast(tmp_path).iterdir()) == ["damaged-6", "damaged-8"]


def test_a_damaged_shared_tier_is_named_and_the_fast_one_used(
    saved: Path, state: TrainState, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip(saved / "4")
    with caplog.at_level(logging.WARNING):
        assert drawn(saved, state, options(tmp_path)) == 8
    assert f"kept aside as damaged-4; the one of step 8 in {str(fast(tmp_path))!r} is used." in caplog.text
    shutil.copytree(saved / "damaged-4", saved / "4")
    for folder in step_folders(fast(tmp_path)).values():
        flip(folder)
    with pytest.raises(UserError, match=r"None of the checkpoints in '.*checkpoints' is whole"):
        open_checkpointer(saved, options(tmp_path))


def test_a_new_run_in_the_same_folder_knows_nothing_of_the_old_tier(
    saved: Path, state: TrainState, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), open_checkpointer(saved, CheckpointConfig(period=4)) as checkpointer:
        assert checkpointer.latest_step() == 4
    assert "holds a checkpoint of step 8, newer than any" in caplog.text
    with (
        caplog.at_level(logging.WARNING),
        open_checkpointer(saved, options(tmp_path, local_dir=str(tmp_path / "other"))) as checkpointer,
    ):
        assert checkpointer.latest_step() == 4
    assert "those are not read" in caplog.text
    shutil.rmtree(saved)
    with open_checkpointer(saved, options(tmp_path)) as checkpointer:
        assert checkpointer.latest_step() is None
    assert (saved / RECORD).is_file()


def test_training_saves_in_both_and_goes_on_to_the_same_bits(tiny_run: TinyRun, tmp_path: Path) -> None:
    def train(shared: Path, config: CheckpointConfig, last: int, hook: Any = lambda *_: None) -> TrainState:
        with open_checkpointer(shared, config) as checkpointer:
            begun = tiny_run.start()
            if checkpointer.latest_step():
                begun = checkpointer.restore(begun).state
            return fit(
                begun, batches(int(begun.step)), tiny_run.step, steps=last, shard_batch=tiny_run.put, measures=[hook],
                log_every=1, checkpointer=checkpointer,
            )  # fmt: skip

    straight = train(tmp_path / "straight", CheckpointConfig(period=4), 7)
    shared = tmp_path / "run" / "checkpoints"
    train(shared, options(tmp_path), 5)
    assert (steps(shared), steps(fast(tmp_path))) == ([4, 5], [2])
    shutil.rmtree(shared / "5")  # as if the machine had died after step 4
    train(shared, options(tmp_path), 7)
    assert (steps(shared), steps(fast(tmp_path))) == ([4, 7], [2, 6])
    shutil.rmtree(shared / "7")
    again = train(shared, options(tmp_path), 7)
    jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, (straight.params, again.params)))

    # What stops a run at a step that only the fast tier has is saved so that it lasts.
    def stop(step: int, *_: Any) -> None:
        if step == 10:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Preempted) as stopped:
        train(shared, options(tmp_path), 12, stop)
    assert (stopped.value.step, stopped.value.saved) == (10, True)
    assert (steps(shared)[-1], steps(fast(tmp_path))[-1]) == (10, 10)


def test_a_fast_tier_that_is_full_hinders_nothing(
    saved: Path, state: TrainState, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_checkpointer(saved, options(tmp_path)) as checkpointer:

        def full(*_: Any) -> None:
            raise WritingError("No space is left.")

        monkeypatch.setattr(checkpointer._local, "save", full)  # type: ignore[attr-defined]
        with caplog.at_level(logging.WARNING):
            checkpointer.save(10, state, {"drawn": 10}, lasting=False)
        checkpointer.save(12, state, {"drawn": 12})
        assert checkpointer.withdraw(12, "diverged") == 8
        assert checkpointer.withdraw(8, "diverged") == 6
    assert "The tier of this machine is left out: No space is left." in caplog.text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"local_dir": "fast"}, "local_dir is 'fast', but local_period is 0"),
        ({"local_period": 3}, "local_period is 3, but local_dir is ''"),
        ({"local_dir": "fast", "local_period": 8, "period": 8}, "local_period is 8 .* no less than the 8 steps"),
    ],
)
def test_options_that_mean_nothing(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CheckpointConfig(**values)


def test_several_processes_and_folders_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fast").write_text("a file")
    with pytest.raises(UserError, match=r"CHECKPOINT_LOCAL_DIR '.*fast' takes no folder"):
        open_checkpointer(tmp_path / "run" / "checkpoints", options(tmp_path))
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(UserError, match="CHECKPOINT_LOCAL_DIR is for runs of one process"):
        open_checkpointer(tmp_path / "run" / "checkpoints", options(tmp_path))
