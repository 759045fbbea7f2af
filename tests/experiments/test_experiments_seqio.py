"""A run over third-party seqio tasks, alone and beside ours: prepared, trained, measured by their own metrics."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import seqio

from flan_jax.data.seqio_bridge.tasks import SeqioTask, stored_example, task_metrics_of
from flan_jax.errors import UserError
from flan_jax.eval.results import read_predictions, read_results
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import open_data, resolve_vocabulary
from flan_jax.experiments.evaluate import evaluate_run
from flan_jax.experiments.mixture import resolve_mixture
from flan_jax.experiments.options import EvalConfig
from flan_jax.experiments.rates import mixture_rates
from flan_jax.experiments.train import train
from flan_jax.mixing.mixture import MIXTURES, Entry, Mixture, Suite, register_mixture
from flan_jax.store.store import TokenStore
from flan_jax.tasks import user_modules
from flan_jax.tasks.spec import Prompted
from flan_jax.testing.models import tiny_t5
from flan_jax.testing.tasks import PARITY, VOWEL
from flan_jax.train.optimizer import OptimizerConfig

sys.path.append(str(Path(__file__).parents[1] / "data"))
import third_party_tasks as theirs

BESIDE = Mixture(
    "ours_and_theirs",
    (
        Entry(Prompted(PARITY), 2.0),
        Entry(SeqioTask("their_reading", cluster="reading"), 1.0),
        Entry(SeqioTask("their_language"), 1.0),
    ),
    suites=(
        Suite("held_out", (Prompted(VOWEL), SeqioTask("their_parity", cluster="numbers")), "validation", held_out=True),
        Suite("scored", (SeqioTask("their_language"), SeqioTask("their_scores")), "validation"),
    ),
)


@pytest.fixture(autouse=True)
def catalogue(monkeypatch):
    monkeypatch.setattr(user_modules, "_imported", {})  # what the tests before imported by name
    monkeypatch.setattr(MIXTURES, "_items", dict(MIXTURES._items))
    register_mixture("ours_and_theirs", lambda: BESIDE)


def run_config(folder, mixture, **changes) -> RunConfig:
    values = {
        "model_dir": str(folder / "run"),
        "mixture": mixture,
        "lengths": {"inputs": 40, "targets": 10},
        "model": tiny_t5(vocab_size=264, num_encoder_layers=1, num_decoder_layers=1),
        "optimizer": OptimizerConfig(name="adamw", learning_rate=1e-2),
        "steps": 3,
        "batch_size": 8,
        "log_period": 1,
        "store": str(folder / "store"),
        "evaluation": EvalConfig(batch_size=16, max_examples=8),
    }
    return RunConfig.from_options(**{**values, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of one run over the third party's mixture, which several tests look at."""
    folder = tmp_path_factory.mktemp("trained")
    assert train(run_config(folder, "their_mixture")).step == 3
    return folder


def test_a_seqio_mixture_from_its_name_to_its_report(trained):
    tmp_path, config = trained, run_config(trained, "their_mixture")
    data = open_data(config)
    own = seqio.get_mixture_or_task("their_mixture")
    assert data.weights == pytest.approx({task.name: own.get_rate(task) / 15.5 for task in own.tasks})
    losses = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(line["loss"]) for line in losses)
    (suite,) = read_results(tmp_path / "run", 3).suites.values()
    assert [(r.name, r.metric, set(r.metrics)) for r in suite] == [
        ("their_few_shot", "exact", {"exact"}),
        ("their_parity", "accuracy", {"accuracy", "predicted", "note"}),
        ("their_reading", "f1", {"f1", "em"}),
    ]
    # The values are what the task's own functions say of the predictions that were saved.
    for result in suite:
        task = SeqioTask(result.name)
        stored = TokenStore(tmp_path / "store").open(result.name, "validation")
        task_metrics = task_metrics_of(task, [stored_example(stored, index) for index in range(8)])
        texts = [prediction.prediction for prediction in read_predictions(tmp_path / "run", 3, result.name)]
        assert result.metrics == task_metrics(np.arange(8), texts, np.zeros(0))
        assert result.metrics["note" if "note" in result.metrics else result.metric] is not None
    page = (tmp_path / "run/report.html").read_text()
    assert "their_reading" in page


def test_ours_and_theirs_in_one_run(tmp_path):
    config = run_config(tmp_path, "ours_and_theirs")
    train(config)
    data = open_data(config)
    assert data.vocabulary.fingerprint() == SeqioTask("their_parity").own_vocabulary().fingerprint()
    assert data.weights == {"toy_parity_zs_opt": 0.5, "their_reading": 0.25, "their_language": 0.25}
    assert data.train[2].input_lengths.max() == 0
    results = read_results(tmp_path / "run", 3)
    by_name = {r.name: r for members in results.suites.values() for r in members}
    assert [by_name[n].native_scale for n in ("toy_vowel_zs_opt", "their_parity", "their_language")] == [
        False,
        True,
        True,
    ]
    assert set(results.averages) == {"held_out"}
    assert results.averages["held_out"].tasks == 1
    language = by_name["their_language"]
    likelihoods = [p.log_likelihood for p in read_predictions(tmp_path / "run", 3, "their_language")]
    assert language.value == pytest.approx(np.mean(likelihoods))
    assert language.metrics["worst"] == pytest.approx(min(likelihoods))
    assert min(likelihoods) < language.value < 0
    assert set(by_name["their_scores"].metrics) == {"accuracy", "log_likelihood", "worst", "n"}
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["tasks"]["their_reading"]["cluster"] == "reading"
    assert manifest["held_out_clusters"] == ["numbers", "toy_letter"]


def test_rates_of_a_seqio_mixture():
    rows = {row.task: row for row in mixture_rates(resolve_mixture("their_mixture")).rows}
    assert (rows["their_parity"].examples, rows["their_parity"].rate) == (40, 9.5)
    assert rows["their_few_shot"].share == pytest.approx(2 / 15.5)


def test_a_mixture_without_a_training_split_can_be_measured_only(tmp_path, trained):
    name = "their_test_only"
    if name not in seqio.TaskRegistry.names():
        source = seqio.FunctionDataSource(theirs.records, splits=["validation"])
        task = seqio.TaskRegistry.get("their_parity")
        seqio.TaskRegistry.add(
            name, source=source, preprocessors=task.preprocessors, metric_fns=[theirs.exact], output_features=theirs.FEATURES
        )  # fmt: skip
    config = run_config(tmp_path, name)
    with pytest.raises(UserError, match="rate 0, so nothing would be drawn"):
        train(config)
    measured = run_config(tmp_path, name, initial_checkpoint=str(trained / "run"))
    (result,) = evaluate_run(measured).suites["validation"]
    assert (result.name, result.n) == (name, 8)


def test_one_vocabulary_for_all(tmp_path):
    def mixture(*names, vocabulary=""):
        return Mixture("m", tuple(Entry(SeqioTask(name)) for name in names), vocabulary=vocabulary)

    with pytest.raises(
        UserError, match=r"task 'their_parity' has the vocabulary .*262 ids.* task 'their_bytes' has .*259"
    ):
        resolve_vocabulary("", mixture("their_parity", "their_bytes"))
    with pytest.raises(UserError, match=r"The run names the vocabulary 'bytes' \(259 ids\), but task 'their_parity'"):
        resolve_vocabulary("bytes", mixture("their_parity"))
    with pytest.raises(UserError, match=r"Mixture 'm' names the vocabulary 'bytes'"):
        resolve_vocabulary("", mixture("their_parity", vocabulary="bytes"))
    assert resolve_vocabulary("bytes", mixture("their_bytes")).size == 259
    assert resolve_vocabulary("", "their_mixture").size == 262
    with pytest.raises(UserError, match=r"Unknown mixture or task 'their_mixtur'. Did you mean 'their_mixture'"):
        resolve_mixture("their_mixtur")
    small = run_config(tmp_path, "their_parity", model=tiny_t5(vocab_size=261))
    with pytest.raises(UserError, match="room for 261"):
        train(small)
