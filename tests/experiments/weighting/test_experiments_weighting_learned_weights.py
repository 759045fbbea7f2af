"""Runs that learn their weights: what is logged and saved, and that an interruption changes no digit."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from weighted_toys import COPY, PARITY, VOWEL, lines

from flan_jax.cli import gin_config
from flan_jax.errors import UserError
from flan_jax.experiments.options import CheckpointConfig
from flan_jax.experiments.train import train
from flan_jax.experiments.weighting.learned_weights import LearnedWeights
from flan_jax.experiments.weights.initial import load_weights
from flan_jax.mixing.online.aioli import Aioli
from flan_jax.mixing.online.doge import DoGE
from flan_jax.mixing.online.doremi import DoReMi
from flan_jax.mixing.online.method import WeightingMethod
from flan_jax.mixing.online.msft import MultiTaskSFT
from flan_jax.mixing.online.odm import OnlineDataMixing
from flan_jax.mixing.online.units import Units


def losses_and_draws(config):
    return [(line["step"], line["loss"], line["task_loss"], line["sampled"]) for line in lines(config)]


def test_weights_learned_of_the_draws_are_logged_saved_and_resumed(config):
    """Behind a curriculum of two steps a bandit over entries learns at steps 5 and 8; the run is stopped at step 6."""
    method = OnlineDataMixing(period=3, units="entry", variant="smoothed_mean")
    straight = config.with_options(weighting=method, curriculum_steps=2)
    train(straight)
    written = lines(straight, "weights.jsonl")
    assert [line["step"] for line in written] == [5, 8]
    for line in written:
        assert sum(line["weights"].values()) == pytest.approx(1)
        assert line["weights"][VOWEL.name] == pytest.approx(3 * line["weights"][COPY.name], rel=1e-9)
    assert written[0]["weights"] != written[1]["weights"]

    # Another number of steps between logged lines, and an interruption between two updates: the same run.
    broken = straight.with_options(model_dir=config.model_dir + "_broken")
    train(broken.with_options(steps=6, log_period=2))
    train(broken.with_options(log_period=2))
    assert lines(broken, "weights.jsonl") == written
    *_, sixth, last = lines(broken)
    whole = lines(straight)[-1]
    assert last["sampled"] == whole["sampled"]
    loss = sum(line["loss"] * line["weight"] for line in (sixth, last)) / whole["weight"]
    assert loss == pytest.approx(whole["loss"], rel=1e-12)
    manifest = json.loads((Path(broken.model_dir) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["config"]["weighting"] == method.settings()
    with pytest.raises(UserError, match=r"weighting\.variant: 'smoothed_mean' → 'paper'"):
        train(straight.with_options(weighting=dataclasses.replace(method, variant="paper")))


def test_a_proxy_moves_the_weights_of_its_loss_and_recommends_their_mean(config):
    reference = config.with_options(model_dir=config.model_dir + "_reference", steps=4)
    train(reference)
    proxy = config.with_options(weighting=DoReMi(reference=reference.model_dir), log_period=2)
    said = []
    train(proxy, log=said.append)
    written = lines(proxy, "weights.jsonl")
    assert [line["step"] for line in written] == [2, 4, 6, 8]
    assert all(sum(line["loss_weights"].values()) == pytest.approx(1) for line in written)
    # Drawn as the mixture says, weighted otherwise.
    drawn = {name: row["requested"] for name, row in lines(proxy)[-1]["sampled"].items()}
    assert drawn == {PARITY.name: 0.5, COPY.name: 0.125, VOWEL.name: 0.375}
    file = Path(proxy.model_dir) / "learned_weights.gin"
    result = file.read_text(encoding="utf-8")
    final = gin_config.load(["models/t5_tiny.gin", "runs/finetune.gin", str(file)], [
        "MODEL_DIR=final", f"MIXTURE_OR_TASK_NAME={proxy.mixture}", "TRAIN_STEPS=1",
        "TASK_FEATURE_LENGTHS={'inputs': 64, 'targets': 32}",
    ])  # fmt: skip
    weights = final.config.mixing.weights
    assert set(weights) == set(drawn)
    assert sum(weights.values()) == pytest.approx(1)
    assert any("learned_weights.gin" in line for line in said)

    broken = proxy.with_options(model_dir=config.model_dir + "_broken")
    train(broken.with_options(steps=5))
    train(broken)
    assert lines(broken, "weights.jsonl") == written
    assert (Path(broken.model_dir) / "learned_weights.gin").read_text(encoding="utf-8") == result
    assert losses_and_draws(broken)[-1] == losses_and_draws(proxy)[-1]


def test_probes_are_drawn_measured_and_resumed(config):
    """Two steps on the weights, a probe of each entry by validation loss, new weights; stopped behind a probe."""
    method = Aioli(period=2, probe_steps=1, units="entry", validation_batches=1, rate=5.0)
    straight = config.with_options(weighting=method)
    train(straight)
    written = lines(straight, "weights.jsonl")
    assert [line["step"] for line in written] == [2, 3, 4, 6, 7, 8]
    shares = [round(line["weights"][PARITY.name], 6) for line in written]
    for probes in (shares[:2], shares[3:5]):
        assert sorted(probes) == [0.375, 0.625]
    assert shares[2] not in (0.375, 0.5, 0.625)
    assert shares[5] != shares[2]

    broken = straight.with_options(model_dir=config.model_dir + "_broken")
    train(broken.with_options(steps=7))
    train(broken)
    assert lines(broken, "weights.jsonl") == written


def test_a_proxys_weights_follow_its_gradients_and_resume(config):
    method = DoGE(period=2, rate=1.0)
    straight = config.with_options(weighting=method, log_period=1)
    train(straight)
    written = lines(straight, "weights.jsonl")
    assert [line["step"] for line in written] == [1, 3, 5, 7]
    assert written[0]["loss_weights"] != written[-1]["loss_weights"]
    mean = np.mean([list(line["loss_weights"].values()) for line in written], axis=0)
    result = (Path(straight.model_dir) / "learned_weights.gin").read_text(encoding="utf-8")
    weights = json.loads(result.split("=", 1)[1])
    assert list(weights.values()) == pytest.approx(mean)

    broken = straight.with_options(model_dir=config.model_dir + "_broken")
    train(broken.with_options(steps=4))
    train(broken)
    assert lines(broken, "weights.jsonl") == written
    assert losses_and_draws(broken)[-1] == losses_and_draws(straight)[-1]


class Rising(MultiTaskSFT):
    """Is told of losses that rise from step to step, that of the second unit faster."""

    def update(self, losses, step):
        assert np.isfinite(losses).all()
        return super().update(np.array([1.0, 2.0]) * step, step)


def test_units_that_overfit_are_left_out_and_the_model_goes_back(config):
    """Two roll-outs of two steps, of which the second one makes everything worse; then nothing is left."""
    method = Rising(period=1, rollout=2, units="entry", validation_batches=1)
    straight = config.with_options(weighting=method, log_period=1, checkpoint=CheckpointConfig(period=1, keep=4))
    said = []
    train(straight, log=said.append)
    written, (*_, last) = lines(straight, "weights.jsonl"), lines(straight)
    assert [round(line["weights"][PARITY.name], 6) for line in written] == [0.5, 1.0, 1.0, 0.5]
    assert last["step"] == 4
    assert [line for line in said if "back to the model" in line] == [
        "Rising leaves a unit out after step 2: back to the model of step 1",
        "Rising leaves a unit out after step 4: back to the model of step 3",
    ]
    assert "Rising has nothing left to train after step 4 of 8" in said
    first, second, third, fourth = (jax.tree.leaves(load_weights(straight, step=step).params) for step in (1, 2, 3, 4))
    assert all(np.array_equal(*pair) for one in ((first, second), (third, fourth)) for pair in zip(*one, strict=True))
    assert not np.array_equal(second[0], third[0])

    broken = straight.with_options(model_dir=config.model_dir + "_broken")
    train(broken.with_options(steps=3))
    train(broken)
    assert lines(broken, "weights.jsonl") == written
    assert losses_and_draws(broken)[-1] == losses_and_draws(straight)[-1]


class GivenWeights(WeightingMethod):
    """Returns what a test tells it, and keeps what it is told."""

    def begin(self, weights):
        self.losses, self.returned = [], weights

    def update(self, losses, step):
        self.losses.append(losses.tolist())
        return self.returned


class Draws:
    """Batches that note the weights they are given."""

    weights = shares_of_mixture = {"a": 0.5, "b": 0.25, "c": 0.25}  # noqa: RUF012

    def __init__(self):
        self.given = []

    def set_weights(self, weights):
        self.given.append(weights)


def step_of(loss, tokens):
    return {"task_loss": np.array(loss), "task_weight": np.array(tokens)}


def test_a_method_is_told_means_over_its_own_period():
    units, draws = Units(("ab", "c"), np.array([0, 0, 1]), np.array([2 / 3, 1 / 3, 1.0])), Draws()
    learned = LearnedWeights(GivenWeights(period=2), units, draws, first_step=1)
    learned.after_step(1, None, step_of([9.0, 9.0, 9.0], [1, 1, 1]))  # of the curriculum
    learned.after_step(2, None, step_of([1.0, 4.0, 0.0], [3, 1, 0]))
    learned.after_step(3, None, step_of([2.0, 0.0, 0.0], [4, 0, 0]))
    assert learned.method.losses[0][0] == (3 * 1.0 + 1 * 4.0 + 4 * 2.0) / 8
    assert np.isnan(learned.method.losses[0][1])
    assert draws.given == [{"a": 0.5, "b": 0.25, "c": 0.25}]
    learned.method.returned = np.array([0.0, 3.0])
    learned.after_step(4, None, step_of([1.0, 1.0, 1.0], [1, 1, 1]))
    learned.after_step(5, None, step_of([1.0, 1.0, 5.0], [1, 1, 1]))
    assert learned.method.losses[1] == [1.0, 3.0]
    assert draws.given[1] == {"a": 0.0, "b": 0.0, "c": 1.0}


def test_a_loss_that_is_not_finite_updates_nothing_and_weights_that_are_none_are_refused():
    units, draws = Units(("a", "b", "c"), np.arange(3), np.ones(3)), Draws()
    learned = LearnedWeights(GivenWeights(period=1), units, draws)
    learned.after_step(1, None, step_of([1.0, np.nan, 1.0], [1, 1, 1]))
    assert not learned.method.losses
    assert not draws.given
    for wrong in ([1.0, 2.0], [1.0, np.nan, 0.0], [-1.0, 1.0, 1.0], [0.0, 0.0, 0.0]):
        learned.method.returned = np.array(wrong)
        with pytest.raises(UserError, match=r"GivenWeights\.update returned .* after step 2; it must return 3 finite"):
            learned.after_step(2, None, step_of([1.0, 1.0, 1.0], [1, 1, 1]))


def test_what_cannot_learn_is_refused_before_anything_is_written(config):
    alone = config.with_options(keep=(PARITY.name,), weighting=OnlineDataMixing())
    with pytest.raises(UserError, match="the run draws from one"):
        train(alone)
    with pytest.raises(UserError, match=r"DoReMi\.reference: .*nowhere"):
        train(config.with_options(weighting=DoReMi(reference=config.model_dir + "_nowhere")))
    goes_back = MultiTaskSFT(period=4, rollout=3, validation_batches=1)
    for checkpoint, sentence in (
        (CheckpointConfig(period=3), r"every 4 behind the 0 of the curriculum, and one is saved every 3\. Set CHECK"),
        (CheckpointConfig(period=2, keep=11), r"the newest 11 .* Set CheckpointConfig\.keep=12, or keep_period=4"),
    ):
        with pytest.raises(UserError, match=sentence):
            train(config.with_options(weighting=goes_back, checkpoint=checkpoint))
    with pytest.raises(UserError, match="not by both"):
        train(config.with_options(weighting=OnlineDataMixing()), reweight=lambda step, metrics: None)
    assert not Path(config.model_dir).exists()
