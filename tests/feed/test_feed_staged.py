"""Stages: the weights of every step, positions that continue, and stages that mean nothing."""

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.feed.config import FeedConfig
from flan_jax.feed.loader import PackedBatches
from flan_jax.feed.staged import StagedBatches
from flan_jax.mixing.stages import StageSchedule, parse_stages
from flan_jax.store.store import StoredExample, TokenStore

LENGTHS = {"inputs": 16, "targets": 8}
STAGES = ((0, {"one": 1.0}), (4, {"one": 1.0, "two": 3.0}), (8, {"two": 1.0}))


@pytest.fixture
def tasks(tmp_path):
    store = TokenStore(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        examples = [
            StoredExample(
                rng.integers(3, 90, rng.integers(2, 9)).astype(np.int32), np.array([4, 1], np.int32), i, 0, (), ("x",)
            )
            for i in range(40)
        ]
        store.write(name, "train", name * 8, examples, {})
    return [store.open(name, "train") for name in ("one", "two")]


def spread(unit):
    return np.array([unit == "one", unit == "two"], np.float64)


def schedule(shape, interval=2):
    return StageSchedule.of(parse_stages(STAGES), shape, interval, spread)


def stream(tasks, shape, told=None):
    made = PackedBatches(
        tasks, [0.5, 0.5], FeedConfig(batch_size=4), seed=0, lengths=LENGTHS, prefetch=1, on_weights=told
    )
    return StagedBatches(made, schedule(shape))


def test_weights_are_a_function_of_the_step():
    constant, linear = schedule("constant"), schedule("linear")
    two = [constant.weights_at(step)[1] for step in (0, 3, 4, 7, 8, 100)]
    assert two == [0, 0, 0.75, 0.75, 1, 1]
    two = [linear.weights_at(step)[1] for step in range(11)]
    assert two == [0, 0, 0.375, 0.375, 0.75, 0.75, 0.875, 0.875, 1, 1, 1]
    for found in (constant, linear):
        changes = [step for step in range(20) if found.change_at(step) is not None]
        assert changes == found.changes_until(19)
    assert schedule("linear", interval=3).changes_until(19) == [0, 3, 4, 7, 8]
    late = StageSchedule.of(parse_stages(STAGES[1:]), "linear", 2, spread)
    assert late.weights_at(3) is None


@pytest.mark.parametrize("shape", ["constant", "linear"])
def test_any_position_continues_alike(tasks, shape):
    told = []
    straight = stream(tasks, shape, lambda step, weights, after: told.append((step, weights["two"])))
    expected = [next(straight) for _ in range(12)]
    assert told == [(step, schedule(shape).weights_at(step)[1]) for step in schedule(shape).changes_until(12)]
    alone = 4 if shape == "constant" else 2
    assert all(batch["decoder_task_ids"].max() == 0 for batch in expected[:alone])  # none of the second task
    stats = straight.sampling_stats()
    for at in (1, 4, 5, 8, 11):
        first, second, third = stream(tasks, shape), stream(tasks, shape), stream(tasks, shape)
        for _ in range(at):
            next(first)
        second.set_state(first.get_state())
        third.seek(at)
        for other in (second, third):
            for batch in expected[at:]:
                found = next(other)
                for name, values in batch.items():
                    np.testing.assert_array_equal(found[name], values)
            np.testing.assert_array_equal(other.sampling_stats().examples, stats.examples)
            np.testing.assert_allclose(other.sampling_stats().requested, stats.requested)
        third.seek(0)
        np.testing.assert_array_equal(next(third)["decoder_task_ids"], expected[0]["decoder_task_ids"])
        for each in (first, second, third):
            each.close()
    straight.close()


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (((4, {"one": 1}), (4, {"two": 1})), r"step 4 behind step 4\. Put the stages in order"),
        (((0, {"one": -1}),), r"gives 'one' the rate -1 from step 0 on"),
        (((0, {"one": 0.0}),), "draws from nothing from step 0 on"),
        (((0, {}),), "draws from nothing"),
        (((-1, {"one": 1}),), "from step -1 on"),
        (((0.5, {"one": 1}),), r"from step 0\.5 on"),
        ((0, {"one": 1}), "a stage is a step and rates"),
    ],
)
def test_stages_that_mean_nothing_are_refused(stages, message):
    with pytest.raises(UserError, match=message):
        FeedConfig(batch_size=4, stages=stages)


def test_a_task_has_one_rate_in_a_stage():
    stages = parse_stages(((0, {"one": 1.0, "both": 1.0}),))
    with pytest.raises(UserError, match="both 'one' and 'both' from step 0 on"):
        StageSchedule.of(
            stages, "constant", 1, lambda unit: np.array([1.0, 0]) if unit == "one" else np.array([0.5, 0.5])
        )


def test_settings_without_a_reader_are_said():
    config = FeedConfig(batch_size=4, stages=((0, {"one": 1}),), stage_interval=5)
    assert [field for field, _ in config.unread()] == ["stage_interval"]
    assert [field for field, _ in FeedConfig(batch_size=4, stage_shape="linear").unread()] == ["stage_shape"]
