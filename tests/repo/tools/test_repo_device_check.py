"""`tools/device_check.py`: what its small size measures on a CPU, and what becomes of parts that do not end well."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_tool import tool

TOOLS = Path(__file__).parents[3] / "tools"
CHECK = TOOLS / "device_check.py"
check = tool("device_check", TOOLS)
from device import cases, process, report, wheels  # noqa: E402
from device.parts import PARTS  # noqa: E402

RUN = [sys.executable, str(CHECK), "run", "--no_install", "--small"]


def checked(folder: Path, environment: dict[str, str], *words: str) -> tuple[subprocess.CompletedProcess[str], Any]:
    path = folder / "check.json"
    done = subprocess.run([*RUN, "--json", str(path), *words], env=environment, capture_output=True, text=True)
    return done, json.loads(path.read_text())


@pytest.mark.timeout(1800)
def test_every_part_says_what_it_measured(tmp_path: Path, one_device: dict[str, str]) -> None:
    limits = [f"{part.name}=400" for part in PARTS]
    done, found = checked(tmp_path, one_device, "--limit", *limits)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: part["status"] for name, part in found["parts"].items()} == {part.name: "done" for part in PARTS}
    results = {name: part["results"] for name, part in found["parts"].items()}
    assert results["machine"]["versions"]["jax"] == found["device"]["jax"]
    assert results["machine"]["peak_source"].startswith("measured")
    # On one device float32 is itself, and bfloat16 is not float32.
    for model in ("t5", "decoder", "decoder_odd"):
        assert results["parity"][model]["float32"]["gradients"] == 0
        assert 1e-4 < results["parity"][model]["bfloat16"]["logits"] < 0.04
        assert results["parity"][model]["bfloat16"]["worst_parameter"]
    assert "cuDNN on GPUs" in results["attention"]["decoder"]["missing"]["cudnn"]
    assert 0 < results["attention"]["decoder"]["chunked"]["difference"] < 2e-2
    assert results["decode"]["rows_4"]["bytes_of_a_token"] > results["decode"]["rows_1"]["bytes_of_a_token"]
    for runs in ("runs_1", "runs_16", "runs_64"):
        assert results["groups"][runs]["difference"] < 1e-3
        assert len(results["groups"][runs]["losses_of_last"]) == len(results["groups"]["alone"]["losses"])
    for name in ("train_t5_xl", "train_decoder_1b", "train_decoder_8b_lora"):
        step = results[name]
        assert step["mfu"] == pytest.approx(step["operations"] / step["step_s"]["median"] / step["peak_flops"])
        assert step["planned"]["memory"]["peak"] > step["planned"]["memory"]["arguments"] > 0
        assert step["planned"]["seconds"]["bound"] > 0
        assert step["attempts"] == [{"rows": 2, "remat": "none"}]
        assert step["losses"][1] < step["losses"][0]
    assert found["checks"]
    assert all(each["status"] != "failed" for each in found["checks"])
    judged = [each for each in found["checks"] if each["name"] in ("MFU", "time of a step by the plan")]
    assert {each["status"] for each in judged} == {"not judged"}, "no table has the rates of this device"
    assert "Exit code 0" in done.stdout


def test_parts_that_fail_or_hang_are_recorded_and_others_go_on(tmp_path: Path, one_device: dict[str, str]) -> None:
    words = "--parts machine,parity,torch --fault machine=fail parity=hang --limit machine=30 parity=3 torch=100"
    done, found = checked(tmp_path, one_device, *words.split())
    assert done.returncode == 1
    machine, parity, torch = (found["parts"][name] for name in ("machine", "parity", "torch"))
    assert (machine["status"], parity["status"], torch["status"]) == ("failed", "timed_out", "done")
    assert "this part was asked to fail" in machine["reason"]
    assert "RuntimeError" in machine["output"]
    assert parity["reason"].startswith("stopped after")
    assert list(parity["results"]) == ["tolerances", "device"], "what it had found stays"
    assert parity["seconds"] >= parity["limit_s"] > 3, "it may use what the part before it left"
    assert "Not correct: the part ran (parity)" in done.stdout
    by_part = {each["part"]: each["status"] for each in found["checks"]}
    assert by_part == {"machine": "missing", "parity": "failed", "torch": "missing"}


def test_a_stop_leaves_what_was_found(tmp_path: Path, one_device: dict[str, str]) -> None:
    path = tmp_path / "check.json"
    words = ["--parts", "parity,groups", "--fault", "parity=hang", "--limit", "parity=500", "--json"]
    with subprocess.Popen([*RUN, *words, str(path)], env=one_device, stderr=subprocess.PIPE, text=True) as running:
        while not path.exists():
            assert running.poll() is None
            time.sleep(0.1)
        running.send_signal(signal.SIGTERM)
        running.communicate()
    assert running.returncode == 128 + signal.SIGTERM
    found = json.loads(path.read_text())
    assert list(found["parts"]["parity"]["results"]) == ["tolerances", "device"]
    assert found["parts"]["groups"]["status"] == "not_run"


# --- limits, checks, the table -----------------------------------------------------------------------------------------


def test_the_limits_are_less_than_eight_minutes() -> None:
    assert sum(part.limit_s for part in PARTS) < 8 * 60


def step(**changes: Any) -> dict[str, Any]:
    """What a part that trains reports of a device that the table has."""
    return {
        "peak_source": "data sheet", "mfu": 0.5, "mfu_target": 0.6, "losses": [2.0, 1.5], "step_s": {"median": 0.12},
        "planned": {"seconds": {"bound": 0.1}, "memory": {"peak": 100}},
        "memory": {"before_steps": {"peak": 60}, "behind_steps": {"peak": 104}}, **changes,
    }  # fmt: skip


def statuses(part: str, results: dict[str, Any]) -> dict[str, str]:
    return {each.name: each.status for each in report.checks({part: {"status": "done", "results": results}})}


def test_a_step_is_held_to_its_targets() -> None:
    found = statuses("train_t5_xl", step())
    assert found == {
        "loss is finite": "passed", "MFU": "below", "time of a step by the plan": "passed", "peak of memory by the plan": "passed",
    }  # fmt: skip
    slow = step(
        step_s={"median": 0.121}, mfu=0.61, memory={"before_steps": {"peak": 60}, "behind_steps": {"peak": 106}}
    )
    assert list(statuses("train_t5_xl", slow).values()) == ["passed", "passed", "below", "below"]
    hidden = step(memory={"before_steps": {"peak": 104}, "behind_steps": {"peak": 104}})
    assert statuses("train_t5_xl", hidden)["peak of memory by the plan"] == "missing"
    (broken,) = (each for each in report.checks({"train_t5_xl": {"status": "done", "results": step(losses=[float("nan")])}})
                 if each.correctness)  # fmt: skip
    assert broken.status == "failed"


def test_speed_alone_is_no_failure_and_a_difference_is() -> None:
    passes = {"shape": {"against": ["chunked", "cudnn"]}, "missing": {}, "chunked": {"seconds": {"median": 1.0}}}

    def attention(difference: float, seconds: float) -> list[Any]:
        cudnn = {"seconds": {"median": seconds}, "difference": difference}
        return report.checks(
            {"attention": {"status": "done", "results": {"tolerance": 0.02, "a": {**passes, "cudnn": cudnn}}}}
        )

    slow, wrong = attention(0.01, 2.0), attention(0.03, 0.5)
    assert [each.status for each in slow] == ["passed", "below"]
    assert not report.failed(slow)
    assert "no failure" in report.verdict(slow)
    assert [each.name for each in report.failed(wrong)] == ["a cudnn equals chunked"]
    text = "\n".join(report.table(wrong))
    assert text.endswith("Not correct: a cudnn equals chunked (attention). Exit code 1.")


def test_batches_halve_behind_the_attempts() -> None:
    case = dataclasses.replace(cases.train_cases(False)["t5_xl"], attempts=((4, "none"), (4, "full")))
    assert list(case.all_attempts()) == [(4, "none"), (4, "full"), (2, "full"), (1, "full")]


def test_packed_rows_hold_several_examples() -> None:
    model = cases.train_cases(True)["t5_xl"].model
    batch = cases.packed_batch(model, 3, 40, 20)
    for side in ("encoder", "decoder"):
        segments, positions = batch[f"{side}_segment_ids"], batch[f"{side}_positions"]
        assert (np.diff(segments, axis=1) >= 0).all()
        assert segments.min() == 1
        starts = np.diff(segments, axis=1, prepend=0) > 0
        assert (positions[starts] == 0).all()
        assert (np.diff(positions, axis=1)[~starts[:, 1:]] == 1).all()
    starts = batch["decoder_positions"] == 0
    assert (batch["decoder_input_tokens"][starts] == model.decoder_start_id).all()


def test_parity_sees_a_wrong_gradient() -> None:
    from device.measure_parity import TOLERANCES, errors

    wanted = {"logits": np.ones(4), "gradients": {"a": np.ones(100), "b": np.full(4, 1e-3)}}
    wrong = {"logits": np.ones(4), "gradients": {"a": np.ones(100), "b": np.zeros(4)}}
    found = errors(wrong, wanted)
    assert found["worst_parameter"] == "b"
    assert (
        found["gradients"] < TOLERANCES["float32"]["gradients"] < TOLERANCES["float32"]["worst"] < found["worst"] == 1
    )
    assert errors({**wrong, "logits": np.full(4, np.nan)}, wanted)["logits"] > 1


# --- bad words, wheels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--no_install", "--small", "--parts", "parit"], "parity"),
        (["--no_install", "--small", "--parts", ","], "--parts is empty"),
        (["--no_install", "--small", "--limit", "parity=0"], "above 0"),
        (["--no_install", "--small", "--limit", "parity"], "PART=VALUE"),
        (["--no_install", "--small", "--fault", "parity=slow"], "fail or hang"),
        (["--wheels", "nowhere"], "manifest.json"),
    ],
)
def test_bad_options_are_one_sentence(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["run", *words]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert said in error
    assert "\n" not in error


def test_without_an_accelerator_sizes_are_small(one_device: dict[str, str], tmp_path: Path) -> None:
    words = [sys.executable, str(CHECK), "run", "--no_install", "--json", str(tmp_path / "check.json")]
    done = subprocess.run(words, env=one_device, capture_output=True, text=True)
    assert done.returncode == 2
    assert "sees no accelerator" in done.stderr
    assert not (tmp_path / "check.json").exists()


def test_pins_are_the_lock_files(tmp_path: Path) -> None:
    everything, least = wheels._requirements(False, set()), wheels._requirements(True, {"scipy"})
    assert everything.count("==") == wheels.PINS.read_text().count("==") - wheels.PINS.read_text().count("# ==")
    assert "tensorflow==" in everything
    assert "\njaxlib==" in least
    assert "tensorflow==" not in least
    assert "scipy==" not in least
    assert least.count("--hash") > 20
    (tmp_path / "something").touch()
    with pytest.raises(wheels.UserError, match="is not empty"):
        wheels.pack(tmp_path, python=sys.executable, cuda="12", least=True, without=[], archive=False)


def test_wheels_are_for_one_version_of_python(tmp_path: Path) -> None:
    (tmp_path / wheels.MANIFEST).write_text(json.dumps({"python": "3.9", "wheels": {}}))
    with pytest.raises(wheels.UserError, match=r"are for Python 3\.9"):
        wheels.install(tmp_path, tmp_path / "venv")
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    (tmp_path / wheels.MANIFEST).write_text(json.dumps({"python": own, "wheels": {"a-1-py3-none-any.whl": 1}}))
    with pytest.raises(wheels.UserError, match="copy the folder again"):
        wheels.install(tmp_path, tmp_path / "venv")


def test_the_parts_import_no_more_than_the_least(one_device: dict[str, str]) -> None:
    code = (
        "import importlib, importlib.metadata as m, sys\n"
        f"[importlib.import_module('device.' + name) for name in {sorted({part.module for part in PARTS} - {'measure_torch'})}]\n"
        "known = m.packages_distributions()\n"
        "own = {x.split('.')[0] for x in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(*{d for x in own for d in known.get(x, ())})"
    )
    environment = process.environment({**os.environ, **one_device}, tuned=True)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    imported = {wheels._canonical(name) for name in done.stdout.split()}
    # What JAX and flax take where it is there: they do without it.
    optional = {"cloudpickle", "filelock", "zstandard", "setuptools", "flan-jax"}
    assert imported - optional <= {wheels._canonical(name) for name in wheels.LEAST}
