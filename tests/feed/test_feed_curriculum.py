"""A curriculum first, then the mixture: order, position, and the refusal of another curriculum's position."""

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.feed.config import FeedConfig
from flan_jax.feed.curriculum import CurriculumBatches
from flan_jax.feed.loader import PackedBatches
from flan_jax.store.store import StoredExample, TokenStore

LENGTHS = {"inputs": 16, "targets": 8}


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


def stream(tasks, steps=3, **own):
    def make(weights, **options):
        return PackedBatches(tasks, weights, FeedConfig(batch_size=4), seed=0, lengths=LENGTHS, prefetch=1, **options)

    curriculum, mixture = make([1.0, 0.0], **own), make([0.5, 0.5], first_step=steps, **own)
    return CurriculumBatches(curriculum, mixture)


def taken(batches, count):
    return [next(batches) for _ in range(count)]


def test_the_curriculum_comes_first_and_the_mixture_from_its_beginning(tasks):
    batches = stream(tasks)
    drawn = taken(batches, 8)
    assert all(batch["decoder_task_ids"].max() == 0 for batch in drawn[:3])
    assert {int(i) for batch in drawn[3:] for i in np.unique(batch["decoder_task_ids"])} == {-1, 0, 1}
    mixture = PackedBatches(tasks, [0.5, 0.5], FeedConfig(batch_size=4), seed=0, lengths=LENGTHS)
    for batch, expected in zip(drawn[3:], taken(mixture, 5), strict=True):
        for name, values in expected.items():
            np.testing.assert_array_equal(batch[name], values)
    assert batches.step == 8
    mixture.close()
    batches.close()


@pytest.mark.parametrize("at", [0, 2, 3, 5])
def test_any_position_continues_alike(tasks, at):
    first = stream(tasks)
    taken(first, at)
    state = first.get_state()
    second = stream(tasks)
    second.set_state(state)
    for one, other in zip(taken(first, 4), taken(second, 4), strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    first.close()
    second.close()


def test_a_position_of_another_curriculum_is_refused(tasks):
    first, second = stream(tasks), stream(tasks, steps=2)
    with pytest.raises(UserError, match="curriculum of 3 steps"):
        second.set_state(first.get_state())
    with pytest.raises(UserError, match="at least 1"):
        stream(tasks, steps=0)
    first.close()
    second.close()


def assert_same(one, other):
    for name, values in one.items():
        np.testing.assert_array_equal(other[name], values)


@pytest.mark.parametrize("at", [0, 2, 3, 5])
def test_a_position_that_counted_from_the_curriculum_s_end_is_read(tasks, at):
    first, second = stream(tasks), stream(tasks)
    taken(first, at)
    first.set_weights([0.25, 0.75])
    state = first.get_state()
    old = {name: value for name, value in state.items() if name != "mixture_first_step"}
    old["mixture_step"] -= 3
    old["mixture_part"] = {**state["mixture_part"], "began": state["mixture_part"]["began"] - 3}
    second.set_state(old)
    assert (second.step, second.weights) == (at, first.weights)
    for one, other in zip(taken(first, 4), taken(second, 4), strict=True):
        assert_same(one, other)
    assert second.get_state() == first.get_state()
    first.close(), second.close()


def test_a_step_is_sought_by_its_number_in_the_run(tasks):
    batches = stream(tasks)
    whole = taken(batches, 8)
    for step in (5, 1, 3, 0, 2, 7):
        batches.seek(step)
        assert batches.step == step
        assert_same(whole[step], next(batches))
    batches.set_weights([1, 0])
    with pytest.raises(UserError, match="before step 8, at which the weights changed"):
        batches.seek(6)
    with pytest.raises(UserError, match="Step -1 must not be negative"):
        batches.seek(-1)
    batches.close()


def test_weights_are_told_with_the_step_of_the_run(tasks):
    told = []
    batches = stream(tasks, on_weights=lambda *line: told.append(line))
    taken(batches, 2)
    assert batches.weights == {"one": 1.0, "two": 0.0}
    batches.set_weights([1, 3])  # of the mixture: the curriculum goes on
    assert batches.weights == {"one": 1.0, "two": 0.0}
    taken(batches, 2)
    assert batches.weights == {"one": 0.25, "two": 0.75}
    taken(batches, 1)
    batches.set_weights([3, 1])
    assert told == [(2, {"one": 0.25, "two": 0.75}, 3), (5, {"one": 0.75, "two": 0.25}, 5)]
    batches.close()


def test_a_position_by_its_earlier_names_is_read(tasks):
    first, second = stream(tasks), stream(tasks)
    taken(first, 2)
    state = first.get_state()
    alone = PackedBatches(tasks, [1.0, 0.0], FeedConfig(batch_size=4), seed=0, lengths=LENGTHS).get_state()
    assert set(alone) < {name.removeprefix("curriculum_") for name in state}
    assert set(alone) < {name.removeprefix("mixture_") for name in state}
    assert all(name.startswith(("curriculum_", "mixture_")) for name in state)
    second.set_state({name.replace("curriculum_", "lesson_"): value for name, value in state.items()})
    for one, other in zip(taken(first, 4), taken(second, 4), strict=True):
        assert_same(one, other)
    first.close(), second.close()
