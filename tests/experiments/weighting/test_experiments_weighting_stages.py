"""Runs in stages: what is drawn when, an interruption where a stage begins, and stages that a run cannot have."""

from pathlib import Path

import pytest
from weighted_toys import COPY, PARITY, VOWEL, lines

from flan_jax.errors import UserError
from flan_jax.experiments.train import train
from flan_jax.mixing.online.odm import OnlineDataMixing


def test_stages_change_the_draws_after_their_steps(config):
    """One task for three steps, then both entries in equal parts going to the other alone; stopped where a stage begins."""
    stages = ((0, {PARITY.name: 2.0}), (3, {PARITY.cluster: 1.0, "toys_inner": 1.0}), (7, {"toys_inner": 5.0}))
    straight = config.with_options(stages=stages, stage_shape="linear", stage_interval=2, log_period=1)
    said = []
    train(straight, log=said.append)
    written = lines(straight, "weights.jsonl")
    shares = {line["step"]: [line["weights"][task.name] for task in (PARITY, COPY, VOWEL)] for line in written}
    assert list(shares) == [0, 2, 3, 5, 7]
    assert (shares[0], shares[3], shares[5], shares[7]) == (
        [1, 0, 0], [0.5, 0.125, 0.375], [0.25, 0.1875, 0.5625], [0, 0.25, 0.75]
    )  # fmt: skip
    drawn = [line["sampled"] for line in lines(straight)]
    assert drawn[1][COPY.name]["examples"] == drawn[1][VOWEL.name]["examples"] == 0
    assert drawn[7][PARITY.name]["examples"] == drawn[6][PARITY.name]["examples"]
    assert drawn[0][PARITY.name]["requested"] == 1

    broken = straight.with_options(model_dir=config.model_dir + "_broken")
    train(broken.with_options(steps=3), log=said.append)
    assert any("the run ends after 3 steps, before its stage from step 3 on" in line for line in said)
    train(broken)
    assert lines(broken, "weights.jsonl") == written
    assert [line["sampled"] for line in lines(broken)] == drawn
    assert [line["loss"] for line in lines(broken)] == [line["loss"] for line in lines(straight)]


def test_stages_that_a_run_cannot_have_are_refused_before_anything_is_written(config):
    with pytest.raises(UserError, match=r"in run\.stages.*Did you mean 'toys_inner'"):
        train(config.with_options(stages=((0, {"toys_iner": 1.0}),)))
    with pytest.raises(UserError, match=rf"both 'toys_inner' and '{COPY.name}' from step 5 on"):
        train(config.with_options(stages=((5, {"toys_inner": 1.0, COPY.name: 1.0}),)))
    with pytest.raises(UserError, match=r"run\.stages says the weights.*@OnlineDataMixing\(\) learns them"):
        config.with_options(stages=((0, {COPY.name: 1.0}),), weighting=OnlineDataMixing())
    assert not Path(config.model_dir).exists()
