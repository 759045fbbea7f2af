"""Vocabularies of words, bytes and SentencePiece models, and how they are loaded."""

import pickle
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flan_jax.data.sources import base as sources
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.data.tokenizers.encoding import set_encoding_threads
from flan_jax.data.tokenizers.protocol import Vocabulary, check_special_ids
from flan_jax.data.tokenizers.registry import VOCABULARIES, load_vocabulary, register_vocabulary
from flan_jax.data.tokenizers.sentencepiece import SentencePieceVocabulary
from flan_jax.data.tokenizers.words import WordVocabulary, split_words
from flan_jax.errors import UserError

WORDS = ["the", "cat", "Don't", "sat", "3.5", "7", "“", "”"]


@pytest.fixture(scope="module")
def words() -> WordVocabulary:
    return WordVocabulary(WORDS, "small")


def test_word_ids_follow_t5_then_marks_then_words(words):
    assert (words.pad_id, words.eos_id, words.unk_id) == (0, 1, 2)
    assert words.words[: len(string.punctuation)] == tuple(string.punctuation)
    assert words.size == 3 + len(string.punctuation) + len(WORDS)
    assert words.encode("the") == [words.size - len(WORDS)]


def test_words_are_lower_cased_and_white_space_only_separates(words):
    assert words.encode("The\n\n CAT\tsat") == words.encode("the cat sat")
    assert words.encode("a dog") == [2, 2]
    assert words.encode(" \n ") == []


def test_decoding_sets_marks_tight(words):
    text = "the cat (don't!) sat: 3.5, 7."
    assert words.decode(words.encode(text)) == text
    assert words.decode(words.encode("OPTIONS:\n- the cat\n- 7")) == "<unk>: - the cat - 7"


def test_decoding_stops_at_the_end_and_skips_padding(words):
    the, cat = words.encode("the cat")
    assert words.decode([0, the, 0, 1, cat]) == "the"
    assert words.decode([the, 10_000]) == "the <unk>"
    assert words.decode([]) == ""


@given(st.lists(st.sampled_from([*WORDS, *string.punctuation]), max_size=12), st.sampled_from(["", " ", "\n"]))
def test_decoded_words_encode_to_the_same_ids(chosen, between):
    vocabulary = WordVocabulary([*WORDS, "don", "t", "35", "77", "5", "3"])
    ids = vocabulary.encode(between.join(chosen))
    if vocabulary.unk_id not in ids:
        assert vocabulary.encode(vocabulary.decode(ids)) == ids


@given(st.text(max_size=40))
def test_a_vocabulary_of_a_text_knows_every_word_of_it(text):
    vocabulary = WordVocabulary.from_texts([text])
    ids = vocabulary.encode(text)
    assert len(ids) == len(split_words(text))
    assert all(3 <= i < vocabulary.size for i in ids)


@pytest.mark.parametrize("entry", ["two words", "", "well-known"])
def test_an_entry_that_is_not_one_word_is_refused(entry):
    with pytest.raises(UserError, match=r"Vocabulary 'bad': .* is not one word"):
        WordVocabulary(["the", entry], "bad")


def test_a_word_in_two_cases_counts_once():
    assert WordVocabulary(["Cat", "cat", "."]).size == 3 + len(string.punctuation) + 1


@given(st.text(max_size=60))
def test_bytes_round_trip(text):
    vocabulary = ByteVocabulary()
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text
    assert all(3 <= i < vocabulary.size for i in ids)


def test_bytes_ignore_what_is_no_byte():
    vocabulary = ByteVocabulary()
    assert vocabulary.decode([0, 2, *vocabulary.encode("ok"), 400, 255 + 3, 1, 70]) == "ok"


def test_sentencepiece_reads_its_ids_from_the_model(sentencepiece_models):
    t5 = SentencePieceVocabulary(sentencepiece_models["t5"])
    assert (t5.pad_id, t5.eos_id, t5.unk_id, t5.name) == (0, 1, 2, "t5")
    no_pad = SentencePieceVocabulary(sentencepiece_models["no_pad"])
    assert (no_pad.pad_id, no_pad.eos_id, no_pad.unk_id) == (1, 2, 0)
    bare = SentencePieceVocabulary(sentencepiece_models["bare"])
    assert (bare.pad_id, bare.eos_id, bare.unk_id) == (bare.size - 1, 0, 1)


@pytest.mark.parametrize("name", ["t5", "no_pad", "bare"])
def test_sentencepiece_round_trip(sentencepiece_models, name):
    check_vocabulary(SentencePieceVocabulary(sentencepiece_models[name]), "the cat sat on a red mat")


def check_vocabulary(vocabulary: Vocabulary, text: str) -> None:
    assert isinstance(vocabulary, Vocabulary)
    ids = vocabulary.encode(text)
    assert ids
    assert vocabulary.decode(ids) == text
    assert vocabulary.encode_batch([text, "", text]) == [ids, vocabulary.encode(""), ids]
    assert vocabulary.encode_batch([]) == []
    assert vocabulary.pad_id not in ids
    assert vocabulary.eos_id not in ids
    assert len({vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id}) == 3
    assert max([*ids, vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id]) < vocabulary.size
    assert vocabulary.decode([vocabulary.pad_id, *ids, vocabulary.pad_id, vocabulary.eos_id, ids[0]]) == text
    assert vocabulary.decode([vocabulary.size + 100]) == vocabulary.decode([vocabulary.unk_id])


def test_sentencepiece_errors_name_the_file(sentencepiece_models, tmp_path):
    with pytest.raises(UserError, match=r"Cannot read the SentencePiece model .*nowhere\.model"):
        SentencePieceVocabulary(tmp_path / "nowhere.model")
    for content in (b"", b"not a model at all"):
        junk = tmp_path / "junk.model"
        junk.write_bytes(content)
        with pytest.raises(UserError, match=r"junk\.model' is not a SentencePiece model"):
            SentencePieceVocabulary(junk)
    with pytest.raises(UserError, match=r"no_eos\.model' has no end-of-sequence id"):
        SentencePieceVocabulary(sentencepiece_models["no_eos"])


def test_fingerprints_are_of_content(sentencepiece_models, tmp_path):
    copy = tmp_path / "other name.model"
    copy.write_bytes(sentencepiece_models["t5"].read_bytes())
    original = SentencePieceVocabulary(sentencepiece_models["t5"])
    assert SentencePieceVocabulary(copy).fingerprint() == original.fingerprint()
    prints = {
        original.fingerprint(),
        SentencePieceVocabulary(sentencepiece_models["no_pad"]).fingerprint(),
        ByteVocabulary().fingerprint(),
        WordVocabulary(["a", "b"]).fingerprint(),
        WordVocabulary(["b", "a"]).fingerprint(),
    }
    assert len(prints) == 5
    assert WordVocabulary(["a"], "one").fingerprint() == WordVocabulary(["a"], "another").fingerprint()


def test_vocabularies_travel_to_other_processes(sentencepiece_models, words):
    for vocabulary in (words, ByteVocabulary(), SentencePieceVocabulary(sentencepiece_models["t5"])):
        again = pickle.loads(pickle.dumps(vocabulary))
        assert again.encode("the cat") == vocabulary.encode("the cat")
        assert again.fingerprint() == vocabulary.fingerprint()


def test_loading_by_name_and_by_path(sentencepiece_models, words):
    built = []
    register_vocabulary("tokenizer_test", lambda: built.append(words) or words)
    try:
        assert not built
        assert load_vocabulary("tokenizer_test") is words
        assert load_vocabulary("tokenizer_test") is words
        assert len(built) == 1
    finally:
        VOCABULARIES._items.pop("tokenizer_test")
    assert load_vocabulary("bytes").size == 259
    assert load_vocabulary(sentencepiece_models["t5"]).name == "t5"
    sources.set_data_dir(sentencepiece_models["t5"].parent)
    assert load_vocabulary("t5.model").name == "t5"
    with pytest.raises(UserError, match=r"Unknown vocabulary 'byte'. Did you mean 'bytes'\?"):
        load_vocabulary("byte")
    with pytest.raises(UserError, match="Cannot read the SentencePiece model"):
        load_vocabulary("no/such.model")


@pytest.mark.realdata
def test_every_published_model_works(realdata: Path):
    models = sorted((realdata / "tokenizers").rglob("*.model"))
    assert len(models) >= 9
    texts = {"sentencepiece": "ee the", "test_ja_model": "there is a cat", "spiece": "there is a cat"}
    for path in models:
        check_vocabulary(SentencePieceVocabulary(path), texts.get(path.stem, "There is a cat."))


@pytest.mark.realdata
def test_albert_ends_with_its_separator(realdata: Path):
    albert = SentencePieceVocabulary(realdata / "tokenizers/hf_fixtures/spiece.model")
    assert (albert.pad_id, albert.unk_id, albert.eos_id, albert.size) == (0, 1, 3, 30_000)


@pytest.mark.parametrize("kind", ["words", "bytes", "t5", "bare"])
def test_arrays_hold_what_encode_returns(sentencepiece_models, kind):
    vocabulary = {"words": lambda: WordVocabulary(["cat", "the"]), "bytes": ByteVocabulary}.get(
        kind, lambda: SentencePieceVocabulary(sentencepiece_models[kind])
    )()
    texts = ["the cat", "", "Ünknown  words, too", "</s> <pad>"]
    arrays = vocabulary.encode_arrays(texts)
    assert [array.tolist() for array in arrays] == [vocabulary.encode(text) for text in texts]
    assert all(np.issubdtype(array.dtype, np.integer) for array in arrays)
    assert vocabulary.encode_arrays([]) == []
    check_special_ids(vocabulary)


def test_an_older_sentencepiece_gives_arrays_too(sentencepiece_models):
    vocabulary = SentencePieceVocabulary(sentencepiece_models["t5"])
    expected = [array.tolist() for array in vocabulary.encode_arrays(["the cat sat", ""])]

    class Older:
        def encode(self, texts, *, out_type, num_threads):
            return [vocabulary.encode(text) for text in texts]

    older = SentencePieceVocabulary(sentencepiece_models["t5"])
    older._processor = Older()
    assert [array.tolist() for array in older.encode_arrays(["the cat sat", ""])] == expected


def test_the_number_of_threads_changes_no_id(sentencepiece_models):
    vocabulary = SentencePieceVocabulary(sentencepiece_models["t5"])
    texts = [f"the cat {i} sat on the mat" for i in range(50)]
    before = vocabulary.encode_batch(texts)
    set_encoding_threads(1)
    try:
        assert vocabulary.encode_batch(texts) == before
        assert [array.tolist() for array in vocabulary.encode_arrays(texts)] == before
    finally:
        set_encoding_threads(-1)
