"""The loss on validation examples in the loop: its numbers, the best checkpoint, the early end, and what may choose a run."""

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.data import open_data
from flan_jax.experiments.mixture import validation_suite
from flan_jax.experiments.options import CheckpointConfig, EvalConfig, ValidationConfig
from flan_jax.experiments.run_folder.run_files import VALIDATION
from flan_jax.experiments.train import train
from flan_jax.experiments.validation.validation_loss import ValidationLoss, validation_data
from flan_jax.experiments.weights.initial import load_weights
from flan_jax.models.build import apply
from flan_jax.models.t5.config import T5Config
from flan_jax.train.hooks import read_metrics
from flan_jax.train.loss import token_loss
from flan_jax.train.optimizer import OptimizerConfig

DEVICES = 2  # of a run that names no mesh: those of test_experiments_train, whose step this is


@pytest.fixture
def run_config(tmp_path: Path, mini_store: Path) -> Any:
    def make(validation: ValidationConfig, **changes: Any) -> RunConfig:
        values = {
            "model_dir": str(tmp_path / "run"),
            "mixture": "mini",
            "lengths": {"inputs": 64, "targets": 16},
            "model": T5Config(
                vocab_size=896, d_model=16, d_kv=4, num_heads=2, d_ff=16, num_encoder_layers=1, num_decoder_layers=1,
                dropout_rate=0.1,
            ),
            "optimizer": OptimizerConfig(name="adamw", learning_rate=1e-3),
            "steps": 10,
            "batch_size": 8,
            "log_period": 1,
            "store": str(mini_store),
            "checkpoint": CheckpointConfig(period=2, keep=1),
            "evaluation": EvalConfig(suites=()),
            "validation": validation,
        }  # fmt: skip
        return RunConfig.from_options(**{**values, **changes})

    return make


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Step → the loss that is measured then."""
    given: dict[int, float] = {}

    def measure(self: ValidationLoss, step: int, state: Any) -> dict[str, Any]:
        return {"step": step, "loss": given[step], "task_loss": {}, "cluster_loss": {}}

    monkeypatch.setattr(ValidationLoss, "measure", measure)
    return given


def test_the_best_checkpoint_is_kept_and_a_loss_that_rises_ends_the_run(
    run_config: Any, losses: dict[int, float], tmp_path: Path
) -> None:
    """Stopped in between, the run knows what it measured; begun again when it has ended, it stays so."""
    losses |= {2: 3.0, 4: 2.0, 6: math.nan, 8: 2.5}
    config, said = run_config(ValidationConfig(period=2, patience=2, keep_best=True)), []
    assert train(config.with_options(steps=5)).step == 5
    result = train(config, log=said.append)
    assert (result.step, result.stopped) == (8, False)
    assert (
        "the run ended at step 8 of 10: the validation loss was lowest at step 4 (2.0000), 2 measurements ago"
        in said[-2]
    )
    names = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdecimal()}
    assert names == {"4", "8"}
    assert [line["loss"] for line in read_metrics(tmp_path / "run" / VALIDATION)] == [3.0, 2.0, None, 2.5]
    losses.clear()  # nothing is measured
    assert train(config, log=said.append).step == 8


def test_the_loss_is_the_mean_over_each_tasks_tokens(run_config: Any, tmp_path: Path) -> None:
    config = run_config(
        ValidationConfig(period=2, suite="held_in", batches=2), steps=3, checkpoint=CheckpointConfig(period=2, keep=2)
    )
    train(config)
    (line,) = read_metrics(tmp_path / "run" / VALIDATION)  # the last step is no measure of the loop
    found = validation_data(config, open_data(config))
    assert found is not None
    assert len(found.batches) == 2
    assert line["step"] == 2
    weights = load_weights(config, step=2)
    sums = [
        jax.device_get(token_loss(apply(weights.graphdef, weights.params, batch), batch, num_tasks=len(found.tasks)))
        for batch in found.batches
    ]
    totals, counts = (np.sum([getattr(each, name) for each in sums], axis=0) for name in ("task_loss", "task_weight"))
    expected = {name: total / count for name, total, count in zip(found.tasks, totals, counts, strict=True) if count}
    assert line["task_loss"] == pytest.approx(expected, rel=1e-5)
    assert line["loss"] == pytest.approx(np.mean(list(expected.values())), rel=1e-5)
    by_cluster: dict[str, list[float]] = {}
    for name, cluster in zip(found.tasks, found.clusters, strict=True):
        if name in expected:
            by_cluster.setdefault(cluster, []).append(expected[name])
    assert line["cluster_loss"] == pytest.approx({name: np.mean(own) for name, own in by_cluster.items()}, rel=1e-5)


def test_no_run_is_chosen_by_what_judges_it_in_the_end(run_config: Any) -> None:
    config = run_config(ValidationConfig(period=2, suite="held_out", patience=1))
    mixture = open_data(config.with_options(validation=ValidationConfig())).mixture
    with pytest.raises(UserError, match=r"cannot be chosen by the suite 'held_out'.*judged by in the end"):
        validation_suite(config, mixture)
    watched = validation_suite(run_config(ValidationConfig(period=2, suite="held_out")), mixture)
    assert watched is not None
    with pytest.raises(UserError, match=r"no suite 'held_im'.*'held_in'"):
        validation_suite(run_config(ValidationConfig(period=2, suite="held_im")), mixture)
    plain = validation_suite(run_config(ValidationConfig(period=2)), mixture)
    assert plain is not None
    assert (plain.split, {task.name for task in plain.tasks}) == ("validation", {t.name for t in mixture.drawn_tasks})


def test_periods_that_do_not_meet_are_refused(run_config: Any) -> None:
    with pytest.raises(
        UserError, match=r"ValidationConfig.period is 3 \(VALIDATION_PERIOD\); .* multiple of LOG_PERIOD=2"
    ):
        run_config(ValidationConfig(period=3), log_period=2)
    with pytest.raises(UserError, match="a multiple of CHECKPOINT_PERIOD=2"):
        run_config(ValidationConfig(period=3, keep_best=True))
    with pytest.raises(UserError, match="patience is 2, but nothing is measured"):
        ValidationConfig(patience=2)
