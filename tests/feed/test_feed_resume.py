"""A run resumed at any step gets the very batches of one that was never stopped: with a curriculum, new weights, or both."""

import contextlib
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.feed import consumed, packed_chunks, packed_row_index
from flan_jax.feed.config import FeedConfig
from flan_jax.feed.curriculum import CurriculumBatches
from flan_jax.feed.loader import PackedBatches
from flan_jax.testing.stores import stored_tasks

STEPS = 12
WEIGHTS = [(0.2, 0.3, 0.5), (1.0, 0.0, 0.0), (0.0, 1.0, 3.0)]

changes_of_weights = st.dictionaries(st.integers(0, STEPS - 1), st.sampled_from(WEIGHTS), max_size=3)
curriculum_steps = st.integers(0, 7)  # 0: none


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return stored_tasks(tmp_path_factory.mktemp("tasks"), (7, 40, 90))


@pytest.fixture(autouse=True, scope="module")
def small_windows():
    """Chunks, windows and tails that a dozen batches cross."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (packed_chunks, packed_row_index, consumed):
            patch.setattr(module, "CHUNK_DRAWS", 32)
        patch.setattr(packed_row_index, "WINDOW_CHUNKS", 4)
        patch.setattr(packed_row_index, "TAIL_CHUNKS", 2)
        yield


@contextlib.contextmanager
def stream_of(tasks, curriculum, told=None, weights=WEIGHTS[0]):
    def make(weights, **options):
        on_weights = None if told is None else lambda *line: told.append(line)
        settings = {"seed": 5, "lengths": {"inputs": 24, "targets": 10}, "prefetch": 0}
        return PackedBatches(tasks, weights, FeedConfig(4), on_weights=on_weights, **settings, **options)

    stream = make(weights, first_step=curriculum)
    if curriculum:
        stream = CurriculumBatches(make((0.0, 0.5, 0.5)), stream)
    with contextlib.closing(stream):
        yield stream


def run_on(stream, changes):
    """(batch, weights in force) of every step to the last; weights change before the steps that say so."""
    while stream.step < STEPS:
        if stream.step in changes:
            stream.set_weights(changes[stream.step])
        in_force = stream.weights
        yield next(stream), in_force


def assert_same_steps(found, expected):
    assert len(found) == len(expected)
    for (batch, weights), (wanted, wanted_weights) in zip(found, expected, strict=True):
        assert weights == wanted_weights
        assert batch.keys() == wanted.keys()
        for name in wanted:
            np.testing.assert_array_equal(batch[name], wanted[name], err_msg=name)


def assert_same_stats(one, other):
    for name in ("expected", "examples", "input_tokens", "target_tokens"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()


def position_of(stream):
    """The position but for the rows of a window, which are known from the first time that they are needed."""
    return {name: value for name, value in stream.get_state().items() if "window_" not in name}


@settings(max_examples=25)
@given(changes_of_weights, curriculum_steps, st.integers(0, STEPS))
def test_a_run_resumed_at_any_step_goes_on_with_the_same_batches(tasks, changes, curriculum, at):
    told, told_again = [], []
    with (
        stream_of(tasks, curriculum, told) as whole,
        stream_of(tasks, curriculum) as stopped,
        stream_of(tasks, curriculum, told_again) as resumed,
    ):
        expected = list(run_on(whole, changes))
        found = list(itertools.islice(run_on(stopped, changes), at))
        resumed.set_state(json.loads(json.dumps(stopped.get_state())))
        assert resumed.step == stopped.step == at
        assert_same_stats(resumed.sampling_stats(), stopped.sampling_stats())
        assert_same_steps(found + list(run_on(resumed, changes)), expected)
        assert_same_stats(resumed.sampling_stats(), whole.sampling_stats())
        assert position_of(resumed) == position_of(whole)
        assert told_again == [line for line in told if line[0] >= at]


@settings(max_examples=25)
@given(changes_of_weights, st.integers(1, 7), st.integers(0, STEPS), st.integers(1, 7))
def test_a_position_under_a_curriculum_is_refused_without_one_and_under_another(tasks, changes, curriculum, at, other):
    with stream_of(tasks, curriculum) as saved, stream_of(tasks, 0) as plain, stream_of(tasks, other) as second:
        list(itertools.islice(run_on(saved, changes), at))
        position = saved.get_state()
        with pytest.raises(UserError, match="it was not saved by this loader"):
            plain.set_state(position)
        if other == curriculum:
            second.set_state(position)
        else:
            with pytest.raises(UserError, match=f"curriculum of {curriculum} steps, and this run has one of {other}"):
                second.set_state(position)


@pytest.mark.parametrize("at", [0, 2, 4, 7])
@pytest.mark.parametrize("change", [None, 1, 5])
def test_a_curriculum_goes_on_over_other_tasks(tasks, tmp_path, at, change):
    """Of tasks 0 and 2 what was drawn counts on; task 1 is replaced by one that begins anew."""
    new_task = stored_tasks(tmp_path, (1, 1, 1, 20))[3]
    others = [tasks[2], new_task, tasks[0]]
    changes = {} if change is None else {change: WEIGHTS[1]}
    with stream_of(tasks, 4) as old, stream_of(others, 4) as new, stream_of(others, 4) as resumed:
        list(itertools.islice(run_on(old, changes), at))
        new.continue_from(old.progress())
        assert new.step == at
        before = old.sampling_stats()
        assert new.sampling_stats().examples.tolist() == [before.examples[2], 0, before.examples[0]]
        resumed.set_state(json.loads(json.dumps(new.get_state())))
        assert_same_steps(list(run_on(resumed, {9: WEIGHTS[2]})), list(run_on(new, {9: WEIGHTS[2]})))
        assert new.sampling_stats().names == ("task2", "task3", "task0")
        assert new.sampling_stats().examples[1] > 0


def test_three_resumes_with_other_weights_and_hosts_lose_and_repeat_no_token(tasks):
    """Every token says its task, its example and its place, so each is counted."""
    legs = ((1, (0.2, 0.3, 0.5)), (2, (0.6, 0.3, 0.1)), (4, (0.1, 0.1, 0.8)), (1, (1.0, 1.0, 1.0)))
    sides = ("encoder_input_tokens", "decoder_target_tokens")
    found: dict[str, list[np.ndarray]] = {side: [] for side in sides}
    position = None
    for leg, (hosts, weights) in enumerate(legs):
        with contextlib.ExitStack() as stack:
            options = {"seed": 5, "lengths": {"inputs": 24, "targets": 10}, "prefetch": 0, "process_count": hosts}
            streams = [
                stack.enter_context(
                    contextlib.closing(PackedBatches(tasks, legs[0][1], FeedConfig(4), process_index=host, **options))
                )
                for host in range(hosts)
            ]
            for stream in streams:
                if position is not None:
                    stream.set_state(json.loads(json.dumps(position)))
                    stream.set_weights(weights)
                assert stream.step == 3 * leg
            for _ in range(3):
                batches = [next(stream) for stream in streams]
                for side in sides:
                    found[side].append(np.concatenate([batch[side] for batch in batches]))
            position = streams[-1].get_state()
    with stream_of(tasks, 0, weights=legs[0][1]) as whole:
        for step in range(STEPS):
            if step % 3 == 0 and step:
                whole.set_weights(legs[step // 3][1])
            batch = next(whole)
            for side in sides:
                np.testing.assert_array_equal(found[side][step], batch[side], err_msg=f"{side} of step {step}")
    for side, begin in zip(sides, (0, 50), strict=True):
        tokens = np.concatenate([rows.ravel() for rows in found[side]])
        tokens = tokens[tokens > 0] - 1 - begin
        for number, task in enumerate(tasks):
            own = tokens[tokens // 100_000 == number] % 100_000
            times = [np.bincount(own[own // 100 == index] % 100) for index in range(len(task))]
            for index, counts in enumerate(times):
                example = task.example(index)
                length = len(example.inputs if side == sides[0] else example.targets)
                assert len(set(counts.tolist())) <= 1, "an example comes with all of its tokens or none"
                assert not counts.size or counts.size == length
            seen = [int(counts[0]) if counts.size else 0 for counts in times]
            assert sum(seen) > 0
            assert max(seen) - min(seen) <= 1, "no example again before all of its task were drawn"
