"""The split that a name says: words as tokens, never a word within another, and never training on what says test."""

import pytest

from flan_jax.data.sources.split_names import CONFLICT, combine_splits, split_name


@pytest.mark.parametrize(
    ("name", "split", "rest"),
    [
        ("train", "train", ""),
        ("training", "train", ""),
        ("TRAIN", "train", ""),
        ("numbers_train", "train", "numbers"),
        ("train_sft", "train", "sft"),
        ("test_prefs", "test", "prefs"),
        ("dev", "validation", ""),
        ("squad.dev", "validation", "squad"),
        ("my-valid-set", "validation", "my_set"),
        ("val2", "validation", ""),
        ("development", "validation", ""),
        ("eval", "test", ""),
        ("evaluation", "test", ""),
        ("testing", "test", ""),
        ("numbers.test", "test", "numbers"),
        ("test2017", "test", ""),
        ("holdout", "test", ""),
        ("held-out", "test", ""),
        ("a_hold_out", "test", "a"),
        ("heldout_b", "test", "b"),
        ("alpacaTest", "test", "alpaca"),
        ("TrainData", "train", ""),
        ("testset", "test", ""),
        ("newstest2014", "test", ""),
        ("newsdev2016", "validation", ""),
        ("src.vld", "validation", "src"),
        ("devtest", "test", ""),
        ("dev-test", "test", ""),
        ("v2_train", "train", "v2"),
        ("train_v2", "train", "v2"),
        ("latest", "", "latest"),
        ("protest", "", "protest"),
        ("contrast", "", "contrast"),
        ("attestation", "", "attestation"),
        ("retrain", "", "retrain"),
        ("constraints", "", "constraints"),
        ("devices", "", "devices"),
        ("values", "", "values"),
        ("medieval", "", "medieval"),
        ("test_train", CONFLICT, ""),
        ("training_test_split", CONFLICT, "split"),
        ("train-dev", CONFLICT, ""),
        ("task1336_peixian_equity_evaluation_corpus_gender", "", "task1336_peixian_equity_evaluation_corpus_gender"),
    ],
)
def test_words_are_tokens(name, split, rest):
    found = split_name(name)
    assert (found.split, found.rest) == (split, rest)


@pytest.mark.parametrize(
    ("name", "number", "shards"),
    [
        ("train-00000-of-00002", 0, 2),
        ("train-00001-of-00002-a09b74b3ef9c3b56", 1, 2),
        ("c4-train.00011-of-01024", 11, 1024),
        ("part_3_of_4", 3, 4),
        ("train_7", 7, None),
        ("train7", 7, None),
        ("train", None, None),
        ("train_sft_7", None, None),
        ("part7", None, None),
    ],
)
def test_numbers_of_shards(name, number, shards):
    found = split_name(name)
    assert (found.number, found.shards) == (number, shards)


def test_training_beside_anything_else_is_a_conflict():
    assert combine_splits("train", "", "train") == "train"
    assert combine_splits("validation", "train") == combine_splits(CONFLICT, "test") == CONFLICT
    assert combine_splits("validation", "test") == "test"
