"""A lesson first, then the mixture: order, position, and the refusal of another lesson's position."""

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.feed.lessons import LessonFirst
from flan_jax.feed.loader import PackedBatches
from flan_jax.feed.store import StoredExample, TokenStore

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


def stream(tasks, steps=3):
    def make(weights):
        return PackedBatches(tasks, weights, seed=0, batch_size=4, lengths=LENGTHS, prefetch=1)

    return LessonFirst(make([1.0, 0.0]), make([0.5, 0.5]), steps=steps)


def taken(batches, count):
    return [next(batches) for _ in range(count)]


def test_the_lesson_comes_first_and_the_mixture_from_its_beginning(tasks):
    batches = stream(tasks)
    drawn = taken(batches, 8)
    assert all(batch["decoder_task_ids"].max() == 0 for batch in drawn[:3])
    assert {int(i) for batch in drawn[3:] for i in np.unique(batch["decoder_task_ids"])} == {-1, 0, 1}
    mixture = PackedBatches(tasks, [0.5, 0.5], seed=0, batch_size=4, lengths=LENGTHS)
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


def test_a_position_of_another_lesson_is_refused(tasks):
    first, second = stream(tasks), stream(tasks, steps=2)
    with pytest.raises(UserError, match="lesson of 3 steps"):
        second.set_state(first.get_state())
    with pytest.raises(UserError, match="at least 1"):
        stream(tasks, steps=0)
    first.close()
    second.close()
