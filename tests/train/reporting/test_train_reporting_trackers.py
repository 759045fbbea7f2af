"""Trackers get what TensorBoard shows, and are refused where they are not installed; some steps are traced."""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.train.reporting.profiler import Profiled
from flan_jax.train.reporting.trackers import Tracker, check_trackers


class Recorded:
    """A tracker's module, which keeps what it is called with."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def init(self, **given: Any) -> None:
        self.calls.append(given)

    def log(self, values: dict[str, float], step: int) -> None:
        self.calls.append((step, values))

    def finish(self) -> None:
        self.calls.append("finished")


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_gets_every_line(name: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = Recorded()
    monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    check_trackers((name,))
    tracker = Tracker(name, tmp_path / "first", {"seed": 3}, ("a", "b"))
    line = {
        "loss": 2.0,
        "grad_norm": float("nan"),
        "weight": 4.0,
        "task_loss": np.array([2.0, np.nan]),
        "task_weight": np.array([4.0, 0]),
    }
    tracker(7, line, None)
    tracker.close()
    begun, sent, end = module.calls
    assert (begun["project"], begun["name"], begun["config"], begun["resume"]) == (
        "flan_jax",
        "first",
        {"seed": 3},
        "allow",
    )
    assert sent == (7, {"train/loss": 2.0, "train/weight": 4.0, "task_loss/a": 2.0, "task_share/a": 1.0})
    assert end == "finished"


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(UserError, match=r"TRACKERS names 'wandb', which is not installed.*flan-jax\[wandb\]"):
        check_trackers(("wandb",))


def test_a_range_of_steps_is_traced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[str] = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: seen.append(f"start {folder}"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: seen.append("stop"))

    def step(state: int, batch: int) -> tuple[int, Any]:
        seen.append(f"step {state + 1}")
        return state + 1, {"loss": jnp.zeros(())}

    whole, state = Profiled(step, (6, 7), tmp_path, 4), 4
    for _ in range(4):
        state, _ = whole(state, 0)
    whole.close()
    assert seen == ["step 5", f"start {tmp_path}", "step 6", "step 7", "stop", "step 8"]
    seen.clear()
    cut = Profiled(step, (1, 3), tmp_path, 0)
    cut(0, 0)
    cut.close()
    assert seen == [f"start {tmp_path}", "step 1", "stop"]
