"""The benchmarks of the data path: they run, count right, and the page shows what they measured."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_tool import TOOLS, tool
from small_mini import small_mini

from flan_jax.store.store import TokenStore

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "data.md"


def run_tool(name: str, json_file: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(TOOLS / name), "--json", str(json_file), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(json_file.read_text()))


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    size = "--tasks 2 --examples_per_task 20 --inputs 64 --targets 32 --batch_size 4"
    little = "--repeats 1 --seconds 0.01 --workers 0"
    return run_tool("bench_data.py", tmp_path_factory.mktemp("bench") / "data_2.json", *size.split(), *little.split())


def test_data_benchmark_says_what_it_measured(fed: dict[str, Any]) -> None:
    assert fed["tasks"] == 2
    assert fed["examples"] == 40
    assert fed["lengths"] == {"inputs": 64, "targets": 32}
    assert {"tokens", "batch_size", "machine", "versions", "date", "source_of_lengths"} <= set(fed)
    assert {"cpu", "cores"} <= set(fed["machine"])
    assert "seqio" not in fed
    measured = fed["flan_jax"]
    for key in (
        "import_s",
        "first_batch_s",
        "peak_mb",
        "tokens_per_s",
        "tokens_per_s_core",
        "tokens_per_cpu_s",
        "position_bytes",
        "position_save_s",
        "restore_s",
        "seek_s",
    ):
        assert measured[key] > 0, key
        assert measured["spread"][key] == [measured[key]] * 2
    assert measured["timed_out"] == []
    assert set(measured["repeats"][0]) >= {"all_cores", "one_core", "seek", "restore"}


def test_data_benchmark_restores_the_very_batch(fed: dict[str, Any]) -> None:
    measured = fed["flan_jax"]
    assert measured["restore_exact"] is True
    assert measured["restore_step"] == 1_000_000


def test_data_benchmark_counts_padding_of_both_sides(fed: dict[str, Any]) -> None:
    padding = fed["flan_jax"]["padding"]
    raw = fed["flan_jax"]["repeats"][0]["all_cores"]
    assert raw["cells"] == {"encoder": raw["rows"] * 64, "decoder": raw["rows"] * 32}
    assert padding["encoder"] == pytest.approx(1 - raw["tokens"]["encoder"] / raw["cells"]["encoder"])
    assert min(padding["encoder"], padding["decoder"]) <= padding["both"] <= max(padding["encoder"], padding["decoder"])


def test_the_same_examples_are_dealt_to_few_tasks_and_to_many(tmp_path: Path) -> None:
    found = run_tool(
        "bench_task_count.py", tmp_path / "found.json", *["--tasks", "2", "5", "--rounds", "1", "--batches", "2"]
    )
    assert set(found["tokens_per_cpu_s"]) == {"2", "5"}
    assert all(rate > 0 for rate in found["tokens_per_cpu_s"].values())
    assert 0 < found["slowest_to_fastest"] <= 1


def test_measurements_are_summed_up_by_medians() -> None:
    several = [
        {
            "first_batch_s": value,
            "padding": {"both": value / 10},
            "restore_exact": value < 3,
            "seek_s": None,
            "raw": raw,
        }
        for value, raw in ((1.0, {"seek": {}}), (5.0, {"seek": {"timed_out_after_s": 1}}), (2.0, {"seek": {}}))
    ]
    found = tool("bench_data")._medians(several)
    assert found["first_batch_s"] == 2.0
    assert found["spread"] == {"first_batch_s": (1.0, 5.0)}
    assert found["padding"] == {"both": 0.2}
    assert found["restore_exact"] is False
    assert found["seek_s"] is None
    assert found["timed_out"] == ["seek"]
    assert found["repeats"] == [one["raw"] for one in several]


# --- the examples ------------------------------------------------------------------------------------------------------


def test_corpus_is_drawn_from_its_seed_and_within_limits() -> None:
    corpus = tool("_bench_corpus")
    limits = {"inputs": 300, "targets": 20}
    one, same, other = (corpus.draw(50, examples_per_task=100, limits=limits, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one.inputs, same.inputs, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one.inputs, other.inputs, strict=True))
    assert max(one.sizes) == 100
    assert all(len(a) == len(b) for a, b in zip(one.inputs, one.targets, strict=True))
    for side, limit in (("inputs", 300), ("targets", 20)):
        lengths = np.concatenate(getattr(one, side))
        assert lengths.min() >= 2
        assert lengths.max() == limit  # some are longer in the data set, and cut
    means = [lengths.mean() for lengths in one.inputs]
    assert np.std(means) > 3 * np.mean(
        [lengths.std() for lengths in one.inputs]
    )  # tasks differ more than their examples


@pytest.mark.realdata
def test_corpus_has_the_quantiles_of_the_data_set(realdata: Path) -> None:
    corpus = tool("_bench_corpus")
    quantiles, correlation = corpus.measure(realdata)
    assert quantiles == corpus.QUANTILES
    assert correlation == corpus.RANK_CORRELATION


# --- rows --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, tuple[Any, Any]]]:
    """A folder with the prepared training tasks of mini in ``store``, and these with their shares."""
    folder = tmp_path_factory.mktemp("mini")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLAN_JAX_CACHE", str(folder / "cache"))
        with small_mini():
            prepared = tool("bench_packing")._mini(TokenStore(folder / "store"), {"inputs": 64, "targets": 16})
        yield folder, prepared


def test_packing_benchmark_says_what_it_measured(
    mini: tuple[Path, tuple[Any, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packing = tool("bench_packing")
    small = "--data mini --lengths 64/16 --draws 2000 --epochs 0 --batch_size 16"
    monkeypatch.setattr(sys, "argv", ["bench_packing.py", "--json", str(tmp_path / "packing.json"), *small.split()])
    monkeypatch.setitem(packing.DATA, "mini", lambda store, limits: mini[1])
    monkeypatch.setenv("FLAN_JAX_CACHE", "")  # the tool sets it; what it was comes back
    packing.main()
    result = json.loads((tmp_path / "packing.json").read_text())
    (found,) = result["results"]
    assert (found["data"], found["inputs"], found["targets"]) == ("mini", 64, 16)
    assert found["draws"] >= 2000
    assert found["rows"] % 16 == 0
    assert found["ratio"] == found["rows"] / found["offline_rows"]
    assert found["least_conceivable_rows"] <= found["offline_rows"]
    assert {"empty_rows", "offline_unsorted_rows", "padding", "offline_padding", "rows_per_example"} <= set(found)
    assert {"target_ratio", "machine", "versions", "date", "seed", "batch_size"} <= set(result)


def test_lengths_are_read_back_from_a_batch() -> None:
    batch = {
        "encoder_segment_ids": np.array([[1, 1, 1, 2, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]),
        "decoder_segment_ids": np.array([[1, 2, 2], [0, 0, 0], [2, 0, 0]]),
    }
    # The second row is empty; in the third, one example has no target and the other no input.
    assert tool("bench_packing").lengths_in(batch).tolist() == [[3, 1], [1, 2], [1, 0], [0, 1]]


def fewest_rows(lengths: np.ndarray, limits: tuple[int, int]) -> int:
    """By trying every order with first fit, which finds the optimum."""
    best = len(lengths)
    for order in permutations(lengths.tolist()):
        rooms: list[list[int]] = []
        for example in order:
            room = next((room for room in rooms if all(r >= n for r, n in zip(room, example, strict=True))), None)
            if room is None:
                rooms.append(room := list(limits))
            room[:] = [r - n for r, n in zip(room, example, strict=True)]
        best = min(best, len(rooms))
    return best


@pytest.mark.parametrize("seed", range(8))
def test_offline_packing_fits_and_is_near_the_best(seed: int) -> None:
    packing = tool("bench_packing")
    lengths = np.random.default_rng(seed).integers(1, (11, 6), (6, 2))
    rows = packing.offline_rows(lengths, (12, 6))
    best = fewest_rows(lengths, (12, 6))
    assert best <= rows <= best + 1


def test_best_fit_takes_the_fullest_row_that_fits_both_sides() -> None:
    packing = tool("bench_packing")
    # 6/1 and 7/3 open two rows of 10/4. 3/2 would fill the second exactly, but its other side is too full.
    assert packing.best_fit(np.array([[6, 1], [7, 3], [3, 2]]), (10, 4), 0) == 2
    # 3/1 goes into the second row, so that 4/3 still fits into the first; worst fit would need a third.
    assert packing.best_fit(np.array([[6, 1], [7, 3], [3, 1], [4, 3]]), (10, 4), 0) == 2


# --- the page ----------------------------------------------------------------------------------------------------------


def test_page_shows_the_measurements_that_are_kept() -> None:
    written = PAGE.read_text()
    assert tool("_bench_tables").filled(written, ROOT / "docs" / "benchmarks") == written, (
        "docs/data.md does not show docs/benchmarks; run python tools/bench/_bench_tables.py"
    )


def test_tables_take_one_line_for_each_system(fed: dict[str, Any], tmp_path: Path) -> None:
    peer = {**fed["flan_jax"], "restore_s": None, "tokens_per_s": 950.4}
    (tmp_path / "data_2.json").write_text(json.dumps({**fed, "seqio": peer}))
    lines = tool("_bench_tables").feeding(tmp_path).splitlines()
    assert lines[2].startswith("| 2 | flan_jax |")
    assert lines[3].startswith("| 2 | seqio |")
    assert "| 950 |" in lines[3]
    assert lines[3].endswith("| – |")
    assert len({line.count("|") for line in lines[:4]}) == 1


def test_code_of_the_page_runs(mini: tuple[Path, tuple[Any, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mini[0])
    assert "flan-jax prepare --mixture mini --store store --inputs 64 --targets 16" in PAGE.read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["batch"]["encoder_input_tokens"].shape == (16, 64)
    assert names["batch"]["decoder_target_tokens"].shape == (16, 16)
    assert names["drawn"].examples.sum() > 1_000_000
    for batches in (names["first"], names["second"]):
        batches.close()
