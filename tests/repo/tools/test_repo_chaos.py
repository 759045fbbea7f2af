"""`tools/chaos.py`: what it compares, and a run that it kills."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

TOOL = Path(__file__).parents[3] / "tools/chaos.py"


@pytest.fixture(scope="module")
def chaos():
    spec = importlib.util.spec_from_file_location("chaos", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def finished(folder: Path, *, loss: float = 1.5, last: float = 0.0, answer: str = "yes", seconds: float = 1.0) -> Path:
    """What a finished run leaves, as far as it is compared."""
    state = folder / "checkpoints" / "4" / "state"
    ocp.PyTreeCheckpointer().save(
        state, {"params": {"kernel": np.arange(6, dtype=np.float32)}, "last": np.float32(last)}
    )
    (folder / "checkpoints" / "4" / "data").mkdir()
    (folder / "checkpoints" / "4" / "data" / "metadata").write_text('{"consumed": 12}')
    line = {"step": 4, "loss": loss, "seconds": seconds, "tokens_per_second": 10 / seconds}
    (folder / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    (folder / "eval" / "4" / "predictions").mkdir(parents=True)
    (folder / "eval" / "4" / "results.json").write_text(json.dumps({"score": 0.5, "seconds": seconds}))
    (folder / "eval" / "4" / "predictions" / "rte.jsonl").write_text(json.dumps({"answer": answer}) + "\n")
    return folder


def test_only_times_may_differ(chaos, tmp_path: Path) -> None:
    whole = finished(tmp_path / "whole")
    assert chaos.differing(whole, finished(tmp_path / "later", seconds=2.0)) == set()
    assert chaos.differing(whole, finished(tmp_path / "loss", loss=1.6)) == {"metrics.jsonl line 1"}
    (bit,) = chaos.differing(whole, finished(tmp_path / "bit", last=-0.0))
    assert bit.startswith("state "), "a sign of nothing is a bit too"
    assert chaos.differing(whole, finished(tmp_path / "text", answer="no")) == {"eval/4/predictions/rte.jsonl"}
    (finished(tmp_path / "less") / "metrics.jsonl").write_text("")
    assert chaos.differing(whole, tmp_path / "less") == {"metrics.jsonl line 1"}


@pytest.mark.deep
@pytest.mark.timeout(1200)
def test_a_run_that_is_killed_comes_to_the_same_end(
    chaos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_device
) -> None:
    for name, value in one_device.items():
        monkeypatch.setenv(name, value)
    found = chaos.chaos(tmp_path, 3, 0, 12, [])
    assert (found["different"], len(found["stops"])) == ([], 3)
    assert found["stops"][0]["asked"] == "prepare"
    assert any(name.startswith("state ") for name in found["compared"])
    assert sys.executable not in " ".join(found["command"])
