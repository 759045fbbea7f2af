import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.errors import UserError
from flan_jax.feed import layout as layout_module
from flan_jax.feed.layout import BATCH_KEYS, RowLayout
from flan_jax.feed.packing import one_per_row

INPUTS, TARGETS = 24, 10
LAYOUT = RowLayout(INPUTS, TARGETS)
lengths = st.lists(st.tuples(st.integers(0, INPUTS), st.integers(0, TARGETS)), max_size=60)


def joined(parts):
    return np.concatenate([np.zeros(0, np.int32), *parts]).astype(np.int32)


def assembled(pairs, rows, first=1, layout=LAYOUT):
    """A batch of examples whose tokens count up through the whole batch, so that no two are equal."""
    a, b = (np.array([pairs[i][side] for i in rows.examples], np.int64) for side in (0, 1))
    inputs = [first + 1000 * i + np.arange(n) for i, n in zip(rows.examples, a, strict=True)]
    targets = [first + 1000 * i + 500 + np.arange(n) for i, n in zip(rows.examples, b, strict=True)]
    batch = layout.assemble(
        row=np.repeat(np.arange(len(rows)), np.diff(rows.starts)),
        task=rows.examples % 3,
        input_lengths=a,
        target_lengths=b,
        input_tokens=joined(inputs),
        target_tokens=joined(targets),
        rows=len(rows) + 1,
    )
    return batch, inputs, targets


@given(lengths)
def test_inputs_begin_with_the_start_of_a_model_in_their_own_segment(pairs):
    start = (2, 3)
    started, plain = RowLayout(INPUTS + 2, TARGETS, input_start=start), RowLayout(INPUTS + 2, TARGETS)
    columns = tuple(np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    rows = started.pack(*columns)
    same = plain.pack(columns[0] + 2, columns[1])
    np.testing.assert_array_equal(rows.examples, same.examples)
    np.testing.assert_array_equal(rows.starts, same.starts)
    batch, inputs, targets = assembled(pairs, rows, first=10, layout=started)
    written = plain.assemble(
        row=np.repeat(np.arange(len(rows)), np.diff(rows.starts)),
        task=rows.examples % 3,
        input_lengths=columns[0][rows.examples] + 2,
        target_lengths=columns[1][rows.examples],
        input_tokens=joined([np.concatenate([start, tokens]) for tokens in inputs]),
        target_tokens=joined(targets),
        rows=len(rows) + 1,
    )
    for name, array in written.items():
        np.testing.assert_array_equal(batch[name], array, err_msg=name)


@given(lengths, st.booleans())
def test_every_token_stands_once_in_order_in_its_own_segment(pairs, together):
    columns = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    rows = LAYOUT.pack(*columns) if together else one_per_row(len(pairs))
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


@pytest.mark.parametrize("decoder_only", [False, True])
def test_the_examples_of_the_documentation(decoder_only):
    layout = RowLayout(6, 6, decoder_only)
    batch = layout.assemble(
        row=np.array([0, 0]),
        task=np.array([0, 2]),
        input_lengths=np.array([3, 2]),
        target_lengths=np.array([2, 3]),
        input_tokens=np.array([5, 6, 1, 8, 1]),
        target_tokens=np.array([7, 1, 9, 4, 1]),
        rows=1,
    )
    assert tuple(batch) == layout.keys
    cells = 12 if decoder_only else 6
    shown = layout_module.__doc__.split("A decoder alone")[decoder_only]
    for name in layout.keys:
        (line,) = [line for line in shown.splitlines() if line.strip().startswith(name)]
        assert batch[name][0].astype(int).tolist() == [int(word) for word in line.split()[1 : cells + 1]]


@pytest.mark.parametrize("decoder_only", [False, True])
def test_rows_equal_those_of_seqio(decoder_only):
    """Each of our packed rows, given to seqio's own converter, comes out as we made it.

    The converter fills a row until an example does not fit. Behind each of our rows stands one that fills a row alone,
    so that it ends theirs where ours ends: one data set is built for all rows, not one a row.
    """
    import seqio
    import tensorflow as tf

    generator = np.random.default_rng(0)
    pairs = [(generator.integers(1, INPUTS), generator.integers(1, TARGETS)) for _ in range(40)]
    layout = RowLayout(INPUTS, TARGETS, decoder_only)
    rows = layout.pack(*(np.array(column) for column in zip(*pairs, strict=True)))
    batch, inputs, targets = assembled(pairs, rows, first=2, layout=layout)
    between = {"inputs": np.full(INPUTS, 7, np.int32), "targets": np.full(TARGETS, 7, np.int32)}

    def examples():
        for low, high in itertools.pairwise(rows.starts):
            for place in range(low, high):
                yield {"inputs": inputs[place].astype(np.int32), "targets": targets[place].astype(np.int32)}
            yield between

    signature = {name: tf.TensorSpec([None], tf.int32) for name in between}
    dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)
    converter = seqio.PrefixLMFeatureConverter(pack=True) if decoder_only else seqio.EncDecFeatureConverter(pack=True)
    theirs = list(converter(dataset, {"inputs": INPUTS, "targets": TARGETS}).as_numpy_iterator())
    assert len(theirs) == 2 * len(rows) > 20
    for name in set(layout.keys) - {"decoder_task_ids"}:
        for row in range(len(rows)):
            np.testing.assert_array_equal(batch[name][row], theirs[2 * row][name], err_msg=f"{name}, row {row}")


@given(lengths)
def test_a_decoder_reads_inputs_then_targets(pairs):
    layout = RowLayout(INPUTS, TARGETS, decoder_only=True)
    rows = layout.pack(*(np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1)))
    batch, inputs, targets = assembled(pairs, rows, layout=layout)
    place = 0
    for row in range(len(rows)):
        one = {name: array[row] for name, array in batch.items()}
        used = 0
        for segment in range(1, rows.starts[row + 1] - rows.starts[row] + 1):
            whole = [*inputs[place], *targets[place]]
            inside = slice(used, used + len(whole))
            assert one["decoder_segment_ids"][inside].tolist() == [segment] * len(whole)
            assert one["decoder_target_tokens"][inside].tolist() == whole
            assert one["decoder_input_tokens"][inside].tolist() == [0, *whole][: len(whole)]
            assert one["decoder_loss_weights"][inside].tolist() == [0] * len(inputs[place]) + [1] * len(targets[place])
            used, place = used + len(whole), place + 1
        assert (one["decoder_segment_ids"][used:] == 0).all()
        assert used <= INPUTS + TARGETS


@pytest.mark.parametrize(("inputs", "targets"), [(0, 5), (5, 0), (None, 5), (2.5, 5)])
def test_a_length_must_be_a_number_of_tokens(inputs, targets):
    with pytest.raises(UserError, match="TASK_FEATURE_LENGTHS"):
        RowLayout(inputs, targets)
