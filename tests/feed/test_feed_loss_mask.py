"""Loss masks: from the store into the loss weights of a batch, beside tasks that have none."""

import dataclasses

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.feed.config import FeedConfig
from flan_jax.feed.layout import RowLayout
from flan_jax.feed.loader import PackedBatches
from flan_jax.feed.token_table import TokenTable
from flan_jax.store.store import LOSS_MASK, LOSS_MASK_TYPE, Extra, StoredExample, TokenStore

LENGTHS = {"inputs": 8, "targets": 12}


def stored(tmp_path, name, examples, extras=None):
    return TokenStore(tmp_path / "masks").write(name, "train", f"{len(name):032x}{name}", examples, {}, extras=extras)


def conversation(index, length, base):
    """Targets alone; the loss counts the tokens whose id is odd."""
    tokens = base + 100 * index + np.arange(length)
    return StoredExample(np.zeros(0, np.int32), tokens, index, extras={LOSS_MASK: (tokens % 2).astype(np.uint8)})


@pytest.fixture
def tasks(tmp_path):
    """A plain task between two of conversations, some of which are longer than ``targets``."""
    generator = np.random.default_rng(0)
    plain = [
        StoredExample(1000 + np.arange(a), 2000 + 10 * i + np.arange(b), i)
        for i, (a, b) in enumerate(zip(generator.integers(1, 9, 30), generator.integers(1, 13, 30), strict=True))
    ]
    talks = [
        stored(
            tmp_path,
            name,
            [conversation(i, int(n), base) for i, n in enumerate(generator.integers(2, 21, 20))],
            {LOSS_MASK: LOSS_MASK_TYPE},
        )
        for name, base in (("first", 10_001), ("second", 20_000))
    ]
    return [talks[0], stored(tmp_path, "plain", plain), talks[1]]


@pytest.mark.parametrize("pack", [True, False])
def test_the_loss_counts_what_the_masks_say_and_every_target_of_other_tasks(tasks, pack):
    arguments = {"seed": 3, "lengths": LENGTHS, "decoder_only": True, "prefetch": 0}
    batches = PackedBatches(tasks, [1, 1, 1], FeedConfig(4, pack=pack), **arguments)
    seen = set()
    for _ in range(12):
        batch = next(batches)
        tokens, weights, task = (batch[f"decoder_{name}"] for name in ("target_tokens", "loss_weights", "task_ids"))
        assert weights.dtype == np.float32
        talk = np.isin(task, [0, 2])
        np.testing.assert_array_equal(weights[talk], tokens[talk] % 2)
        np.testing.assert_array_equal(weights[task == 1], tokens[task == 1] >= 2000)
        assert not weights[task < 0].any()
        seen |= set(np.unique(task).tolist())
    assert seen >= {0, 1, 2}


def test_a_conversation_may_fill_a_decoders_row(tasks):
    longest = max(task.manifest["max_target_length"] for task in tasks)
    assert LENGTHS["targets"] < longest <= sum(LENGTHS.values())
    RowLayout(8, 12, decoder_only=True).check_fits(tasks[0])
    with pytest.raises(UserError, match=r"targets of up to .* longer than the 14 of a row"):
        RowLayout(8, 6, decoder_only=True).check_fits(tasks[0])


def test_an_encoder_has_nothing_to_read_of_a_conversation(tasks):
    with pytest.raises(UserError, match=r"'first' has whole conversations without inputs.*decoder.*dialog_task"):
        PackedBatches(tasks, [1, 1, 1], FeedConfig(batch_size=2), seed=0, lengths={"inputs": 8, "targets": 30})


def test_an_encoder_decoder_counts_what_the_masks_of_ordinary_examples_say(tmp_path):
    examples = [dataclasses.replace(conversation(i, 6, 3), inputs=np.arange(1, 5)) for i in range(4)]
    task = stored(tmp_path, "partial", examples, {LOSS_MASK: LOSS_MASK_TYPE})
    batch = next(PackedBatches([task], [1], FeedConfig(batch_size=2), seed=0, lengths=LENGTHS, prefetch=0))
    inside = batch["decoder_segment_ids"] > 0
    np.testing.assert_array_equal(
        batch["decoder_loss_weights"], np.where(inside, batch["decoder_target_tokens"] % 2, 0).astype(np.float32)
    )


def test_without_masks_nothing_is_looked_up(tasks):
    assert TokenTable(tasks[1:2]).target_weights(np.arange(3), np.zeros(3, int), np.ones(3, int)) is None
    table = TokenTable(tasks)
    rows = table.rows(np.full(3, 1), np.arange(3))
    assert table.target_weights(rows, np.full(3, 1), table.lengths(rows)[1]) is None


def test_a_mask_is_declared_as_one_and_as_long_as_its_target(tmp_path):
    example = StoredExample(np.zeros(0, int), np.arange(4), extras={LOSS_MASK: np.ones(3, np.uint8)})
    short = stored(tmp_path, "short", [example], {LOSS_MASK: LOSS_MASK_TYPE})
    with pytest.raises(UserError, match="'short', split 'train' has loss masks that are not as long"):
        TokenTable([short])
    wide = dataclasses.replace(example, extras={LOSS_MASK: np.ones(4, np.float32)})
    other = stored(tmp_path, "other", [wide], {LOSS_MASK: Extra("float32", 1)})
    with pytest.raises(UserError, match=r"'loss_mask' of type float32 and rank 1.*uint8"):
        RowLayout(4, 4, decoder_only=True).check_fits(other)


def test_a_position_restores_masked_rows(tasks):
    arguments = {"seed": 5, "lengths": LENGTHS, "decoder_only": True, "prefetch": 0}
    batches = PackedBatches(tasks, [2, 1, 1], FeedConfig(3), **arguments)
    for _ in range(3):
        next(batches)
    state, wanted = batches.get_state(), next(batches)
    restored = PackedBatches(tasks, [2, 1, 1], FeedConfig(3), **arguments)
    restored.set_state(state)
    found = next(restored)
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
