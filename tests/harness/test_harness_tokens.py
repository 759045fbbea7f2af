"""Texts become the ids that the harness's own backend would make of them."""

import pytest

from flan_jax.data.tokenizers.registry import load_vocabulary
from flan_jax.harness.tokens import RequestTokenizer
from flan_jax.testing import tokenizers

BEGIN, END = "<|begin|>", "<|end|>"


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    folder = tokenizers.save(
        tmp_path_factory.mktemp("tokenizers") / "bytes",
        tokenizers.byte_level("<pad>", BEGIN, END, "<|turn|>"),
        {"pad_token": "<pad>", "bos_token": BEGIN, "eos_token": END},
    )
    return load_vocabulary(folder)


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    folder = tokenizers.save(
        tmp_path_factory.mktemp("tokenizers") / "t5", tokenizers.t5(), {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    )  # fmt: skip
    return load_vocabulary(folder)


def test_one_text_is_cut_where_its_context_ends_and_spaces_belong_to_what_follows(vocabulary):
    tokenizer = RequestTokenizer(vocabulary, begin=(1,))
    whole = (1, *vocabulary.encode("the cat sat on the mat"))
    pairs = [("the cat sat", " on the mat"), ("the cat sat ", "on the mat"), ("the cat", " sat on the mat")]
    found = tokenizer.encode_pairs(pairs)
    assert [context + continuation for context, continuation in found] == [whole] * 3
    assert found[0] == found[1] != found[2]
    assert vocabulary.decode(found[0][1]) == " on the mat"


def test_an_encoder_s_context_ends_and_the_continuation_stands_alone_without_an_end(t5):
    tokenizer = RequestTokenizer(t5, end=(t5.eos_id,), separate=True)
    ((context, continuation),) = tokenizer.encode_pairs([("the cat ", "sat")])
    assert context == (*t5.encode("the cat"), t5.eos_id)
    assert continuation == tuple(t5.encode(" sat"))
    assert t5.eos_id not in continuation


def test_the_end_of_an_input_as_in_training_takes_the_space_away(vocabulary):
    tokenizer = RequestTokenizer(vocabulary, end=(2,), separate=True, strips=True)
    ((context, continuation),) = tokenizer.encode_pairs([("the cat", " sat")])
    assert (context, continuation) == ((*vocabulary.encode("the cat"), 2), tuple(vocabulary.encode("sat")))


@pytest.mark.parametrize(("begin", "prefix"), [((1,), 1), ((), 1)])
def test_an_empty_context_is_the_token_that_begins_a_text(vocabulary, begin, prefix):
    tokenizer = RequestTokenizer(vocabulary, begin=begin)
    ids = tuple(vocabulary.encode("the cat"))
    assert tokenizer.encode_pairs([("", "the cat")]) == [((prefix,), ids)]
    assert tokenizer.encode_pairs([("", f"{BEGIN}the cat")]) == [((prefix,), ids)]


def test_without_a_token_that_begins_the_end_stands_for_nothing(t5):
    assert RequestTokenizer(t5).prefix_id == t5.eos_id


def test_special_tokens_of_a_template_are_read_and_the_first_is_not_doubled(vocabulary):
    tokenizer = RequestTokenizer(vocabulary, begin=(1,))
    text = f"{BEGIN}user: the cat<|turn|>"
    assert tokenizer.encode(text) == (1, *vocabulary.encode("user: the cat"), 3)
    assert tokenizer.encode_all(["the", text, "cat"])[::2] == [tokenizer.encode("the"), tokenizer.encode("cat")]
    assert tokenizer.encode("the", whole=False) == tuple(vocabulary.encode("the"))


def test_special_tokens_are_not_written(vocabulary):
    ids = [*vocabulary.encode("the"), 3, *vocabulary.encode(" cat"), 2, *vocabulary.encode(" sat")]
    assert RequestTokenizer(vocabulary).decode(ids) == "the cat"
