"""The benchmark of scaling: on tiny models its parts run to their end, and their fields mean what they say."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from bench_tool import TOOLS, tool

FEW = ["--tiny", "--steps", "3", "--rounds", "2", "--saves", "1", "--starts", "1", "--devices", "1", "4"]


@pytest.fixture(scope="module")
def scaling() -> Any:
    return tool("bench_scaling")


def measured(scaling: Any, path: Path, *parts: str) -> dict[str, Any]:
    scaling.main([*FEW, "--parts", *parts, "--json", str(path)])
    return dict(json.loads(path.read_text()))


def test_a_step_is_compiled_for_more_devices_than_there_are(scaling: Any, tmp_path: Path) -> None:
    found = measured(scaling, tmp_path / "found.json", "compile")["parts"]["compile"]
    one, fsdp, tensor = found["steps"]
    assert [step["mesh"] for step in (one, fsdp, tensor)] == [
        {"data": 1, "fsdp": 1, "tensor": 1}, {"data": 1, "fsdp": 4, "tensor": 1}, {"data": 1, "fsdp": 2, "tensor": 2}
    ]  # fmt: skip
    for step in found["steps"]:
        assert step["rows"] == step["devices"]
        assert 0 < step["trace_s"] + step["compile_s"] < step["process_s"]
        assert step["process_cpu_s"] > 0
    assert one["collectives"]["by_kind"] == {}
    # Every layer's kernels are gathered for the forward and for the backward pass.
    assert fsdp["collectives"]["by_kind"]["all-gather"]["runs"] > 2 * found["model"]["config"]["num_layers"]
    for step in (fsdp, tensor):
        for kind, total in step["collectives"]["by_kind"].items():
            each = [own for own in step["collectives"]["each"] if own["kind"] == kind]
            assert total["bytes"] == sum(own["bytes"] for own in each) > 0
    assert fsdp["memory_bytes"]["arguments"] < 0.3 * one["memory_bytes"]["arguments"]


def test_what_the_loop_adds_is_the_loop_less_the_bare_step(scaling: Any, tmp_path: Path) -> None:
    result = measured(scaling, tmp_path / "found.json", "overhead")
    found = result["parts"]["overhead"]
    assert set(found["log_periods"]) == {"1", "10", "100"}
    for own in (found["bare_step_s"], found["log_periods"]["1"]["host"]):
        assert len(own["runs"]) == 2
        assert 0 < min(own["runs"]) <= own["low"] <= own["median"] <= own["high"] <= max(own["runs"])
    (first, *_), periods = result["targets"], found["log_periods"]
    assert first["value"] == periods["1"]["added"]["median"]
    assert first["met"] == (abs(first["value"]) <= 1e-3)


def test_a_save_and_the_peak_of_memory_are_measured_and_other_parts_stay(scaling: Any, tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    before = measured(scaling, path, "checkpoint")
    result = measured(scaling, path, "memory")
    assert result["parts"]["checkpoint"] == before["parts"]["checkpoint"]
    (saved,) = result["parts"]["checkpoint"]["cases"]
    assert saved["stall_share"] == pytest.approx(saved["stall_s"]["median"] / saved["step_s"]["median"])
    assert saved["bytes"] > 12 * saved["parameters"]  # weights and both moments
    assert saved["restore_s"] > 0
    t5, decoder = result["parts"]["memory"]["cases"]
    for case in (t5, decoder):
        assert case["predicted_bytes"] > 12 * case["parameters"]
        assert case["error"] == pytest.approx(case["predicted_bytes"] / case["measured_bytes"] - 1)
    assert {each["part"] for each in result["targets"]} == {"checkpoint", "memory"}


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_starts_are_timed_to_their_first_step(
    scaling: Any, tmp_path: Path, one_device: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XLA_FLAGS", one_device["XLA_FLAGS"])
    parts = measured(scaling, tmp_path / "found.json", "startup", "resume")["parts"]
    started, (resumed,) = parts["startup"], parts["resume"]["cases"]
    for start in (started["off"], started["cold"], started["warm"], started["with_preparation"]):
        assert 0 < start["settings_s"] < start["first_step_s"]
        assert 0 < start["compile_s"] < start["first_step_s"]
        assert start["trace_s"] > 0 < start["cpu_s"]
    for start in (resumed["off"], resumed["warm"]):
        assert start["settings_s"] < start["resuming_s"] < start["first_step_s"]
    assert resumed["checkpoint_bytes"] > 0


def test_a_start_is_timed_by_what_it_says(scaling: Any) -> None:
    commands = tool("_scaling_commands", TOOLS / "scaling")
    says = "import sys, time\nfor line in sys.argv[1:]:\n time.sleep(0.05)\n print(line, file=sys.stderr, flush=True)"
    lines = [
        "Finished XLA compilation of jit(f) in 1.5 sec",
        "training 10 parameters for 3 steps",
        "Finished XLA compilation of jit(g) in 0.25 sec",
        "resuming at step 2 of 3",
        "step 3/3  loss 1.0",
        "Finished XLA compilation of jit(h) in 9 sec",
    ]
    command = [sys.executable, "-c", says]
    found = commands.to_first_step([*command, *lines], {}, resumed_at=2)
    assert found["compile_s"] == 1.75  # what comes behind the first step is no part of it
    assert 0 < found["settings_s"] < found["resuming_s"] < found["first_step_s"]
    for wrong in (lines[:4], [line.replace("step 2", "step 1") for line in lines]):
        with pytest.raises(RuntimeError, match="ended with 0"):
            commands.to_first_step([*command, *wrong], {}, resumed_at=2)


def test_targets_are_those_of_the_most_devices(scaling: Any) -> None:
    step = {"compiler": "cpu", "trace_s": 2.0}
    steps = [
        {**step, "devices": 8, "tensor": 1, "compile_s": 500.0},
        {**step, "devices": 512, "tensor": 1, "compile_s": 119.0},
        {**step, "devices": 512, "tensor": 8, "compile_s": 10.0},
        {**step, "devices": 1024, "tensor": 1, "failed": "no room"},
    ]
    found = scaling.targets({"compile": {"steps": steps}})
    assert [(each["case"], each["value"], each["met"]) for each in found] == [
        ("512 devices, tensor=1", 121.0, False), ("512 devices, tensor=8", 12.0, True)
    ]  # fmt: skip
