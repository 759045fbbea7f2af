"""A run is measured on benchmarks, and otherwise than its suites are declared, beside its own results."""

import dataclasses
import json

import pytest

from flan_jax.eval.results import read_results
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import open_data, prepare_run
from flan_jax.experiments.evaluate import evaluate_run
from flan_jax.experiments.options import EvalConfig
from flan_jax.experiments.run_dir import check_same_data, write_description
from flan_jax.experiments.run_folder.run_files import read_manifest
from flan_jax.experiments.suites.benchmark_suite import BenchmarkRequest
from flan_jax.experiments.suites.benchmarks import AnswerLimits, evaluate_benchmarks
from flan_jax.mixing.mixture import MIXTURES
from flan_jax.models.huggingface import writer
from flan_jax.models.t5.config import T5Config
from flan_jax.testing.benchmarks import write_gsm8k, write_mmlu
from flan_jax.testing.models import random_params
from flan_jax.testing.tasks import toy_mixture
from flan_jax.train.optimizer import OptimizerConfig


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run on toy tasks that has its first weights."""
    monkeypatch.setitem(MIXTURES._items, "toy_benchmarks", lambda: toy_mixture("toy_benchmarks"))
    model = T5Config(384, 16, 4, 2, 16, 1, 1)
    writer.save(tmp_path / "start", model, random_params(model))
    config = RunConfig.from_options(
        model_dir=str(tmp_path / "run"), mixture="toy_benchmarks", lengths={"inputs": 256, "targets": 16}, model=model,
        optimizer=OptimizerConfig(), steps=1, batch_size=8, initial_checkpoint=str(tmp_path / "start"),
        evaluation=EvalConfig(max_examples=2),
    )  # fmt: skip
    prepare_run(config)
    return config


def test_results_lie_beside_those_of_the_run(run, tmp_path):
    own = {"held_in"}
    evaluate_run(dataclasses.replace(run, evaluation=dataclasses.replace(run.evaluation, suites=("held_in",))))
    mmlu, gsm8k = str(write_mmlu(tmp_path / "mmlu")), str(write_gsm8k(tmp_path / "gsm8k"))
    requests = [
        BenchmarkRequest("mmlu", mmlu, limit=2, tasks=("stem",)),
        BenchmarkRequest("gsm8k", gsm8k, shots=1, limit=1),
    ]
    evaluate_benchmarks(run, requests, limits=AnswerLimits(max_tokens=3))
    asked = dataclasses.replace(run.evaluation, suites=("held_in",), shots=1, tasks=("toy_number",), label="_limit2")
    evaluate_run(dataclasses.replace(run, evaluation=asked))

    results = read_results(run.model_dir, 0)
    assert set(results.suites) == {*own, "mmlu_limit2:stem", "gsm8k_1shot_limit1", "held_in_1shot_limit2:toy_number"}
    (mmlu_result,) = results.suites["mmlu_limit2:stem"]
    # The run's inputs are short: solved examples are left out, and it is said.
    assert any("are asked with fewer than 5 solved examples" in note for note in mmlu_result.notes)
    assert results.settings["mmlu_limit2:stem"]["lengths"]["inputs"] == 256
    assert results.settings["mmlu_limit2:stem"]["shots_left_out"] > 0
    # Questions were looked for in what the run was trained on.
    assert mmlu_result.by_overlap
    assert results.settings["held_in_1shot_limit2:toy_number"]["shots"] == 1
    saved = json.loads((tmp_path / "run" / "eval" / "0" / "results.json").read_text(encoding="utf-8"))
    assert set(saved["averages"]) == set(results.suites)


def test_weights_from_elsewhere_are_measured_without_what_the_mixture_trains_on(run, tmp_path):
    """And a training in the folder, later on, is described as one that began there."""
    config = run.with_options(
        store=str(tmp_path / "other"), evaluation=EvalConfig(suites=("held_out",), max_examples=1)
    )
    evaluate_run(config)
    assert {path.name for path in (tmp_path / "other").iterdir()} == {"toy_vowel_zs_opt"}
    assert read_manifest(config.model_dir)["tasks"] == {}
    prepare_run(config)
    data = open_data(config)
    assert not check_same_data(tmp_path / "run", data)
    write_description(tmp_path / "run", config, data, operative="", params={})
    assert (
        set(read_manifest(config.model_dir)["tasks"])
        == set(data.train_names)
        == {"toy_copy_zs_opt", "toy_parity_zs_opt"}
    )
