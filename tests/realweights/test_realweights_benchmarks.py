"""MMLU's letters get the log-likelihoods that transformers gives the tokens behind the same text."""

import numpy as np
import pytest
from realweights_peer import small_enough

from flan_jax.eval.results import read_predictions
from flan_jax.experiments.suites.benchmark_suite import BenchmarkRequest
from flan_jax.experiments.suites.benchmarks import AnswerLimits, evaluate_benchmarks
from flan_jax.experiments.weights.pretrained import run_of_folder
from flan_jax.testing.benchmarks import write_mmlu

pytestmark = [pytest.mark.realweights, pytest.mark.filterwarnings("default"), pytest.mark.timeout(600)]


def test_letters_of_mmlu_have_transformers_log_likelihoods(realweights, peer, tmp_path):
    request = BenchmarkRequest("mmlu", str(write_mmlu(tmp_path / "mmlu")), tasks=("astronomy",), shots=2, limit=3)
    out = tmp_path / "out"
    limits = AnswerLimits(batch_size=3)
    results = evaluate_benchmarks(
        run_of_folder(realweights), [request], output_dir=str(out), published=True, limits=limits
    )
    assert results.suites["mmlu_2shot_limit3:astronomy"][0].n == 3
    letters = [peer.tokenizer.encode(f" {letter}", add_special_tokens=False) for letter in "ABCD"]
    assert [len(ids) for ids in letters] == [1, 1, 1, 1]
    for row in read_predictions(out, 0, "mmlu_astronomy_2shot_limit3"):
        prompt = peer.tokenizer.encode(row.inputs, add_special_tokens=False)
        theirs = [peer.log_likelihood(prompt, ids) for ids in letters]
        assert small_enough(np.array(row.option_scores) - np.array(theirs))
        assert row.prediction == "ABCD"[int(np.argmax(theirs))]
