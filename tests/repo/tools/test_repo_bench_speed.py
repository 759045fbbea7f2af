"""The benchmarks of speed: they run on tiny models, and count operations right."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_tool import TOOLS, tool
from deep import with_deep


def measured(name: str, folder: Path, *arguments: str) -> dict[str, Any]:
    path = folder / "measured.json"
    tool(name).main([*arguments, "--json", str(path)])
    return dict(json.loads(path.read_text()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What the benchmark of training measures of a model, once."""

    @functools.cache
    def measure(model: str) -> dict[str, Any]:
        few = "--steps 2 --warm_up 1 --matmul 16 --padding 0.3 --optimizer adafactor"
        return measured("bench_train", tmp_path_factory.mktemp("trained"), "--model", model, *few.split())

    return measure


@pytest.mark.parametrize("model", ["tiny_t5", "tiny_decoder_lora"])
def test_training_benchmark_says_what_it_measured(model: str, trained: Callable[[str], dict[str, Any]]) -> None:
    found = trained(model)
    assert {"config", "optimizer", "dtype", "seed", "rounds", "machine", "versions", "date", "flops"} <= set(found)
    assert found["matmul_flops"]["least"] > 0
    assert found["skipped"] == found["faster_than"] == {}
    ours = found["flan_jax"]
    assert len(ours["step_s"]["runs"]) == found["rounds"] == 2
    assert ours["step_s"]["least"] <= ours["step_s"]["median"] <= ours["step_s"]["greatest"]
    assert 0 < ours["useful_tokens_per_s"] < 0.9 * ours["tokens_per_s"]
    assert ours["mfu"] == ours["matmul_share"] > 0
    assert "lora" in model or ours["memory_bytes"]["arguments"] > 4 * found["parameters"]
    assert ours["loss"] > 0


def test_a_field_of_the_model_can_be_set(tmp_path: Path) -> None:
    few = "--steps 1 --warm_up 1 --matmul 16 --set num_layers=1 --rows 1 --dtype bfloat16"
    found = measured("bench_train", tmp_path, "--model", "tiny_decoder", *few.split())
    assert (found["config"]["num_layers"], found["rows"], found["dtype"]) == (1, 1, "bfloat16")


def test_t5x_needs_a_checkout(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tool("bench_train").main(["--model", "tiny_t5", "--peer", "t5x"])
    assert "--t5x" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["tiny_t5", "tiny_decoder"])
def test_operations_are_those_that_the_compiler_counts(model: str) -> None:
    import jax

    from flan_jax.models import build

    presets, flops = tool("_bench_presets"), tool("_bench_flops")
    preset = presets.PRESETS[model]
    batch = presets.make_batch(preset, padding=0.0, seed=0)
    graphdef, params = build.abstract_model(preset.model)
    # Products as jax writes them: in a loop over layers each counts once, so every stack has its depth of them.
    jaxpr = jax.make_jaxpr(lambda params: build.apply(graphdef, params, batch))(params)
    counted = products(jaxpr.jaxpr, 1)
    causal = counted - flops.forward_flops(preset)  # what the formula leaves out is half of the causal attention
    layers = getattr(preset.model, "num_layers", None) or preset.model.num_decoder_layers
    halves = 4.0 * preset.rows * layers * preset.targets**2 / 2 * preset.model.d_heads
    assert causal == pytest.approx(halves)


def products(jaxpr: Any, times: int) -> float:
    """Floating-point operations of matrix products, those within loops as often as the loop turns."""
    import numpy as np

    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            depth = np.prod([equation.invars[0].aval.shape[axis] for axis in contracted])
            total += times * 2.0 * float(np.prod(equation.outvars[0].aval.shape)) * float(depth)
        inner = times * equation.params.get("length", 1) if equation.primitive.name == "scan" else times
        for value in equation.params.values():
            for part in value if isinstance(value, (tuple, list)) else (value,):
                part = getattr(part, "jaxpr", part)
                if hasattr(part, "eqns"):
                    total += products(part, inner)
    return total


@pytest.mark.parametrize("model", with_deep(["tiny_decoder"], ["tiny_t5"]))
def test_decoding_benchmark_says_what_it_measured(model: str, tmp_path: Path) -> None:
    few = "--batch 1 3 --prompt 5 --tokens 4 --rounds 1"
    found = measured("bench_decode", tmp_path, "--model", model, *few.split())
    assert {"config", "dtype", "prompt", "tokens", "seed", "machine", "versions", "date"} <= set(found)
    assert set(found["batches"]) == {"1", "3"}
    one, three = found["batches"]["1"], found["batches"]["3"]
    assert one["flan_jax"]["prefill_s"]["median"] > 0
    assert {"token_s", "tokens_per_s", "bound_s", "bound_share"} <= set(one["flan_jax"])
    assert three["bytes_of_a_token"] > one["bytes_of_a_token"]
    assert one["skipped"] == one["faster_than"] == {}


def test_a_token_reads_what_it_needs() -> None:
    presets, decode = tool("_bench_presets"), tool("bench_decode")
    config = presets.PRESETS["decoder_100m"].model
    layers = 12 * (4 * 768 * 768 + 3 * 768 * 2048 + 2 * 768)
    assert decode.bytes_of_a_token(config, 2, 10) == 4 * (layers + 32000 * 768 + 768 + 2 * 2 * 12 * 10 * 768)


# --- the page ----------------------------------------------------------------------------------------------------------


def test_page_shows_the_measurements_that_are_kept() -> None:
    page = TOOLS.parents[1] / "docs" / "speed.md"
    written = page.read_text(encoding="utf-8")
    assert tool("_bench_speed_tables").filled(written, page.parent / "benchmarks") == written, (
        "docs/speed.md does not show docs/benchmarks; run python tools/bench/_bench_speed_tables.py"
    )


def test_tables_have_a_line_for_each_system(tmp_path: Path, trained: Callable[[str], dict[str, Any]]) -> None:
    found = trained("tiny_t5")
    found = {**found, "torch": found["flan_jax"], "faster_than": {"torch": 1.25}}
    (tmp_path / "train_tiny.json").write_text(json.dumps(found))
    lines = tool("_bench_speed_tables").training(tmp_path).splitlines()
    assert [line.count("|") for line in lines] == [11] * 4
    assert "| flan_jax |" in lines[2]
    assert lines[3].endswith("| 1.25 × |")
    assert "Not measured" in tool("_bench_speed_tables").decoding(tmp_path)
