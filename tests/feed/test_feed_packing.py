import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.feed.packing import BATCH_KEYS, assemble, one_per_row, pack

INPUTS, TARGETS = 24, 10
lengths = st.lists(st.tuples(st.integers(0, INPUTS), st.integers(0, TARGETS)), max_size=60)


def packed(pairs, inputs=INPUTS, targets=TARGETS):
    a, b = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    return a, b, pack(a, b, input_limit=inputs, target_limit=targets)


@given(lengths)
def test_every_example_stands_in_one_row_that_has_room(pairs):
    a, b, rows = packed(pairs)
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


def lognormal(count, seed):
    generator = np.random.default_rng(seed)
    a = np.clip(generator.lognormal(4.6, 0.8, count).astype(int), 3, 512)
    return a, np.clip(generator.lognormal(2.3, 1.0, count).astype(int), 2, 128)


@pytest.mark.parametrize("limits", [(512, 128), (2048, 512)])
def test_a_pool_needs_hardly_more_rows_than_everything_at_once(limits):
    a, b = lognormal(16_384, 0)
    options = {"input_limit": limits[0], "target_limit": limits[1]}
    offline = len(pack(a, b, **options))
    pools = sum(len(pack(a[i : i + 4096], b[i : i + 4096], **options)) for i in range(0, len(a), 4096))
    assert pools <= 1.01 * offline
    assert offline <= 1.03 * max(a.sum() / limits[0], b.sum() / limits[1])


def test_a_side_without_room_does_not_waste_the_other():
    # half of the examples fill the decoder and leave room in the encoder that nothing else can use
    a = np.array([100] * 3000 + [128] * 3000)
    b = np.array([128] * 3000 + [2] * 3000)
    assert len(pack(a, b, input_limit=512, target_limit=128)) == 3000 + 750


def test_an_example_that_is_too_long_is_never_cut():
    with pytest.raises(ValueError, match="25/1 does not fit into a row of 24/10"):
        packed([(25, 1)])
    with pytest.raises(ValueError, match="1/11 does not fit"):
        packed([(1, 11)])


def joined(parts):
    return np.concatenate([np.zeros(0, np.int32), *parts]).astype(np.int32)


def assembled(pairs, rows, first=1):
    """A batch of examples whose tokens count up through the whole batch, so that no two are equal."""
    a, b = (np.array([pairs[i][side] for i in rows.examples], np.int64) for side in (0, 1))
    inputs = [first + 1000 * i + np.arange(n) for i, n in zip(rows.examples, a, strict=True)]
    targets = [first + 1000 * i + 500 + np.arange(n) for i, n in zip(rows.examples, b, strict=True)]
    batch = assemble(
        row=np.repeat(np.arange(len(rows)), np.diff(rows.starts)),
        task=rows.examples % 3,
        input_lengths=a,
        target_lengths=b,
        input_tokens=joined(inputs),
        target_tokens=joined(targets),
        rows=len(rows) + 1,
        input_limit=INPUTS,
        target_limit=TARGETS,
    )
    return batch, inputs, targets


@given(lengths, st.booleans())
def test_every_token_stands_once_in_order_in_its_own_segment(pairs, together):
    rows = packed(pairs)[2] if together else one_per_row(len(pairs))
    batch, inputs, targets = assembled(pairs, rows)
    assert tuple(batch) == BATCH_KEYS
    place = 0
    for row in range(len(rows)):
        one = {name: array[row] for name, array in batch.items()}
        count = rows.starts[row + 1] - rows.starts[row]
        for segment in range(1, count + 1):
            example = rows.examples[place]
            encoder, decoder = one["encoder_segment_ids"] == segment, one["decoder_segment_ids"] == segment
            assert one["encoder_input_tokens"][encoder].tolist() == inputs[place].tolist()
            assert one["encoder_positions"][encoder].tolist() == list(range(len(inputs[place])))
            assert one["decoder_target_tokens"][decoder].tolist() == targets[place].tolist()
            assert one["decoder_input_tokens"][decoder].tolist() == [0, *targets[place]][: len(targets[place])]
            assert one["decoder_positions"][decoder].tolist() == list(range(len(targets[place])))
            assert one["decoder_task_ids"][decoder].tolist() == [example % 3] * len(targets[place])
            for used in (np.flatnonzero(encoder), np.flatnonzero(decoder)):
                assert (np.diff(used) == 1).all()  # one piece
            place += 1
    for side, sums in (("encoder", sum(map(len, inputs))), ("decoder", sum(map(len, targets)))):
        segments = batch[f"{side}_segment_ids"]
        assert (segments > 0).sum() == sums
        assert (segments[-1] == 0).all()  # the row that was asked for beyond the examples
    padding = batch["decoder_segment_ids"] == 0
    assert (batch["decoder_loss_weights"] == ~padding).all()
    assert (batch["decoder_task_ids"][padding] == -1).all()
    for name in ("decoder_target_tokens", "decoder_input_tokens", "decoder_positions"):
        assert (batch[name][padding] == 0).all()
    for name in ("encoder_input_tokens", "encoder_positions"):
        assert (batch[name][batch["encoder_segment_ids"] == 0] == 0).all()
    for name, array in batch.items():
        assert array.dtype == (np.float32 if name == "decoder_loss_weights" else np.int32)
        assert array.shape == (len(rows) + 1, INPUTS if name.startswith("encoder") else TARGETS)


def test_the_example_of_the_documentation():
    batch = assemble(
        row=np.array([0, 0]),
        task=np.array([0, 2]),
        input_lengths=np.array([3, 2]),
        target_lengths=np.array([2, 3]),
        input_tokens=np.array([5, 6, 1, 8, 1]),
        target_tokens=np.array([7, 1, 9, 4, 1]),
        rows=1,
        input_limit=6,
        target_limit=6,
    )
    from flan_jax.feed import packing

    for name in BATCH_KEYS:
        (line,) = [line for line in packing.__doc__.splitlines() if line.strip().startswith(name)]
        assert batch[name][0].astype(int).tolist() == [int(word) for word in line.split()[1:7]]
