"""The JSON of a saved position stays what it is, so that every old checkpoint can be read."""

import json

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.feed.sampler import SamplerStart
from flan_jax.feed.sampling_stats import SamplingStats
from flan_jax.feed.saved_position import FIRST_STEP, PART, Part, checked_position, decode_part, encode_part

ZEROS = SamplingStats(("a", "b"), np.zeros(2), np.array([4, 5]), *(np.zeros(2, np.int64) for _ in range(3)))
SAVED = {
    "number": 2, "began": 17, "weights": [0.25, 0.75], "drawn": [3, 9], "owed_task": [1, 0], "owed_number": [8, 2],
    "expected": [2.5, 9.5], "examples": [2, 8], "input_tokens": [20, 80], "target_tokens": [4, 16],
}  # fmt: skip
DIGESTS = {"tasks": 1, "weights": 2, "layout": 3, "packing": 1}
POSITION = {"step": 4, "row": 32, "window_rows": 0, "window_own": 0, "tasks": 1, "weights": 2, "layout": 3}


def test_a_part_of_a_run_is_written_as_ever():
    assert (PART, FIRST_STEP) == ("part", "first_step")
    start = SamplerStart(2, np.array([3, 9]), np.array([1, 0], np.int32), np.array([8, 2]))
    earlier = ZEROS + SamplingStats(
        ("a", "b"), np.array([2.5, 9.5]), ZEROS.sizes, np.array([2, 8]), np.array([20, 80]), np.array([4, 16])
    )
    assert json.loads(json.dumps(encode_part(Part(np.array([0.25, 0.75]), start, earlier, 17)))) == SAVED


def test_a_part_of_a_run_is_read_as_it_was_written():
    part = decode_part(SAVED, ZEROS)
    assert encode_part(part) == SAVED
    assert part.earlier_stats.names == ZEROS.names
    assert part.earlier_stats.sizes is ZEROS.sizes
    assert [part.start.drawn.dtype, part.start.carried_over_task.dtype, part.earlier_stats.examples.dtype] == [
        np.int64, np.int32, np.int64,
    ]  # fmt: skip


def test_a_position_is_of_the_stream_that_saved_it():
    assert checked_position(POSITION, DIGESTS) == {**POSITION, "packing": 1}  # older ones had no version of packing
    with pytest.raises(
        UserError, match="has no row, step, tasks, weights, window_own, window_rows; it was not saved by"
    ):
        checked_position({"layout": 3}, DIGESTS)
    for changed, said in (
        ({"tasks": 9}, "continued: the tasks or what they were prepared from changed"),
        ({"weights": 9, "layout": 9}, "the weights or the seed and the lengths, packing, or what becomes of exhausted"),
        ({"packing": 2}, "the way in which flan_jax draws and packs rows changed"),
    ):
        with pytest.raises(UserError, match=said):
            checked_position({**POSITION, **changed}, DIGESTS)
