import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.feed.packing import pack

INPUTS, TARGETS = 24, 10
lengths = st.lists(st.tuples(st.integers(0, INPUTS), st.integers(0, TARGETS)), max_size=60)


def packed(pairs, inputs=INPUTS, targets=TARGETS):
    a, b = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    return a, b, pack(a, b, input_limit=inputs, target_limit=targets)


@given(lengths, st.booleans())
def test_every_example_stands_in_one_row_that_has_room(pairs, longest_first):
    a, b = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    rows = pack(a, b, input_limit=INPUTS, target_limit=TARGETS, longest_first=longest_first)
    assert sorted(rows.examples.tolist()) == list(range(len(pairs)))
    for row in range(len(rows)):
        inside = rows.examples[rows.starts[row] : rows.starts[row + 1]]
        assert inside.size
        assert a[inside].sum() <= INPUTS
        assert b[inside].sum() <= TARGETS
        assert inside.tolist() == sorted(inside)


@given(lengths, st.randoms(use_true_random=False))
def test_reordered_rows_keep_their_examples(pairs, random):
    rows = packed(pairs)[2]
    order = list(range(len(rows)))
    random.shuffle(order)
    other = rows.reordered(np.array(order, np.int64))
    for new, old in enumerate(order):
        assert (
            other.examples[other.starts[new] : other.starts[new + 1]].tolist()
            == rows.examples[rows.starts[old] : rows.starts[old + 1]].tolist()
        )
    assert len(other.examples) == len(rows.examples)


@pytest.mark.parametrize(
    ("pairs", "rows"),
    [
        ([(12, 5)] * 4, 2),
        ([(6, 1), (18, 1), (4, 1), (20, 1), (10, 1), (14, 1)], 3),  # encoder sums fill rows exactly
        ([(1, 6), (1, 4), (1, 9), (1, 1), (1, 7), (1, 3)], 3),  # decoder sums fill rows exactly
        ([(20, 1), (1, 9), (3, 0)], 1),  # both sides at once
        ([(24, 1)] * 3 + [(0, 9)] * 3, 3),  # an example may need no room on one side
        ([(24, 10)] * 5, 5),
        ([], 0),
    ],
)
def test_rows_that_can_be_filled_are_filled(pairs, rows):
    assert len(packed(pairs)[2]) == rows


def assert_best_fit(a, b, limits, longest_first):
    """Replays the placements: each takes the fullest row, by the scarcer side, that has room on both sides."""
    rows = pack(a, b, input_limit=limits[0], target_limit=limits[1], longest_first=longest_first)
    row_of = np.empty(len(a), np.int64)
    row_of[rows.examples] = np.repeat(np.arange(len(rows)), np.diff(rows.starts))
    need, room_of_new = np.stack([a, b], axis=1), np.array(limits)
    scarce = 0 if a.sum() * limits[1] >= b.sum() * limits[0] else 1
    order = np.argsort(-(need / limits).max(axis=1), kind="stable") if longest_first else np.arange(len(a))
    room: list[np.ndarray] = []
    for index in order.tolist():
        fitting = [left[scarce] for left in room if (left >= need[index]).all()]
        row = row_of[index]
        if row == len(room):  # rows are numbered as they are opened
            assert not fitting, f"example {index} opens a row though one has room"
            room.append(room_of_new.copy())
        else:
            assert room[row][scarce] == min(fitting), f"example {index} does not fill the row that it fits closest"
        room[row] = room[row] - need[index]


# Up to 16 rows of one class are tried, so that as few examples are placed exactly.
few = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=16)


@given(few, st.sampled_from([(24, 10), (16, 16), (100, 200), (512, 128), (37, 1)]), st.booleans())
def test_each_example_goes_into_the_row_that_it_fills_most_closely(shares, limits, longest_first):
    a, b = (np.array([int(share[side] * limits[side]) for share in shares], np.int64) for side in (0, 1))
    assert_best_fit(a, b, limits, longest_first)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=16), st.booleans())
def test_rows_of_the_same_room_on_the_other_side_are_told_apart(pairs, longest_first):
    a, b = np.array(pairs, np.int64).T
    assert_best_fit(a, b, (24, 10), longest_first)


def test_the_first_row_is_the_closest_among_rows_of_the_same_class():
    # After two rows both have just the room on the other side that the third example needs.
    pairs = np.array([(400, 64), (300, 64), (100, 64)])
    assert_best_fit(*pairs.T, (512, 128), longest_first=False)
    rows = pack(*pairs.T, input_limit=512, target_limit=128, longest_first=False)
    assert rows.examples.tolist() == [0, 2, 1]


@given(st.lists(st.integers(0, 64), min_size=1, max_size=200), st.booleans(), st.integers(0, 1))
def test_one_side_alone_is_packed_by_exact_best_fit(lengths, longest_first, side):
    sides = [np.array(lengths, np.int64), np.zeros(len(lengths), np.int64)]
    limits = [64, 40]
    if side:
        sides.reverse(), limits.reverse()
    assert_best_fit(*sides, tuple(limits), longest_first)


def lognormal(count, seed):
    generator = np.random.default_rng(seed)
    a = np.clip(generator.lognormal(4.6, 0.8, count).astype(int), 3, 512)
    return a, np.clip(generator.lognormal(2.3, 1.0, count).astype(int), 2, 128)


@pytest.mark.parametrize("limits", [(512, 128), (2048, 512)])
def test_a_chunk_needs_hardly_more_rows_than_everything_at_once(limits):
    a, b = lognormal(16_384, 0)
    options = {"input_limit": limits[0], "target_limit": limits[1]}
    offline = len(pack(a, b, **options))
    chunks = sum(len(pack(a[i : i + 4096], b[i : i + 4096], **options)) for i in range(0, len(a), 4096))
    assert chunks <= 1.01 * offline
    assert offline <= 1.03 * max(a.sum() / limits[0], b.sum() / limits[1])


def test_a_side_without_room_does_not_waste_the_other():
    # half of the examples fill the decoder and leave room in the encoder that nothing else can use
    a = np.array([100] * 3000 + [128] * 3000)
    b = np.array([128] * 3000 + [2] * 3000)
    assert len(pack(a, b, input_limit=512, target_limit=128)) == 3000 + 750


def test_the_order_given_fills_rows_where_both_sides_are_scarce():
    # Questions that are long to read and reports that are long to write fill rows only together.
    kinds = np.array([(40, 2), (10, 9)])
    a, b = kinds[np.random.default_rng(0).integers(0, 2, 4096)].T
    options = {"input_limit": 512, "target_limit": 128}
    as_given, decreasing = (len(pack(a, b, **options, longest_first=first)) for first in (False, True))
    assert as_given < 0.8 * decreasing
    assert as_given < 1.05 * a.sum() / 512


def test_an_example_that_is_too_long_is_never_cut():
    with pytest.raises(ValueError, match="25/1 does not fit into a row of 24/10"):
        packed([(25, 1)])
    with pytest.raises(ValueError, match="1/11 does not fit"):
        packed([(1, 11)])
