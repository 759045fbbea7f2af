"""Models that are asked together answer as each does alone."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from eval_toys import CONFIG

from flan_jax.eval.grouped.answering import GroupAnswers
from flan_jax.eval.grouped.predictor import GroupedPredictor
from flan_jax.eval.language_model import BatchedModel
from flan_jax.models.build import logical_axes
from flan_jax.models.peft.adapters import attach, join, merged_params, split
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.runs_axis import own_sharding, runs_mesh, shared_sharding

TUNING = TuningConfig(lora_rank=2, lora_alpha=4, lora_patterns=("q", "wo"))
COUNT = 4


@pytest.fixture(scope="module")
def adapters(model) -> tuple[list[Any], Any]:
    """Of each model its adapters, and what all of them stand on."""
    keys = jax.random.split(jax.random.key(1), COUNT)
    trained, frozen = [], None
    for number, key in enumerate(keys):
        own, frozen = split(attach(model[1], logical_axes(CONFIG), TUNING, key), TUNING)
        rng = np.random.default_rng(number)
        trained.append(jax.tree.map(lambda leaf, rng=rng: (0.3 * rng.normal(size=leaf.shape)).astype(np.float32), own))
    return trained, frozen


@pytest.fixture(scope="module")
def group(predictor, adapters) -> GroupedPredictor:
    """Two models on each of two devices."""
    trained, frozen = adapters
    mesh = runs_mesh(jax.devices()[:2])
    stacked = jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *trained), own_sharding(mesh))
    return GroupedPredictor.of(predictor, stacked, jax.device_put(frozen, shared_sharding(mesh)), TUNING, mesh)


def test_every_model_answers_as_alone(predictor, group, adapters, examples):
    answers, (trained, frozen) = GroupAnswers(group), adapters
    scored = [dataclasses.replace(example, targets=np.array([5, 9, 1])) for example in examples]
    told = []
    for run, own in enumerate(trained):
        alone, ours = predictor.with_params(merged_params(join(own, frozen, TUNING))), answers.of(run)
        for mine, theirs in zip(ours.rank(examples), alone.rank(examples), strict=True):
            # Adapters that are merged into their kernels round otherwise; scores of two models differ by more than 0.1.
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(ours.loglikelihood(scored), alone.loglikelihood(scored), rtol=1e-5, atol=1e-3)
        assert ours.generate(examples) == alone.generate(examples)
        told.append(tuple(ours.generate(examples)))
    assert len(set(told)) == COUNT
    assert isinstance(ours, BatchedModel)
    assert ours.option_tokens(["w5 w6"]) == predictor.option_tokens(["w5 w6"])
    assert ours.empty_prompt.tolist() == predictor.empty_prompt.tolist()
    assert ours.rank_notes(examples) == predictor.rank_notes(examples)


def test_what_one_model_was_asked_the_others_are_not_asked_again(group, examples, monkeypatch):
    asked: list[list[int]] = []
    answer = GroupedPredictor.answer_batches

    def counted(self: Any, request: Any, pool: Any, skip: Any = ()) -> Any:
        asked.append([index for index in range(len(pool)) if index not in skip])
        return answer(self, request, pool, skip)

    monkeypatch.setattr(GroupedPredictor, "answer_batches", counted)
    answers = GroupAnswers(group)
    known = {0, 3}  # as a journal of a killed evaluation says
    first = [index for batch in answers.of(0).answer_batches("rank", examples, known) for index in batch.members]
    assert sorted(first) == [index for index in range(len(examples)) if index not in known]
    other = answers.of(1).rank(examples)
    again = answers.of(2).rank(examples)
    assert asked == [sorted(first), sorted(known)]
    assert not np.allclose(other[0], again[0], atol=0.1)
