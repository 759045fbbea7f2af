"""What a vocabulary has without writing it, and one of somebody else's that has the required methods alone."""

import pickle

import pytest

from flan_jax.data.prepare.config import PrepareConfig
from flan_jax.data.tokenizers import BaseVocabulary, ByteVocabulary, Vocabulary
from flan_jax.data.tokenizers.base import AdaptedVocabulary, as_vocabulary
from flan_jax.data.tokenizers.protocol import encode_with_special_tokens
from flan_jax.data.tokenizers.registry import VOCABULARIES, load_vocabulary, register_vocabulary
from flan_jax.data.tokenizers.token_display import display_pieces
from flan_jax.errors import UserError


class Minimal:
    """A letter an id, and nothing that can be left out."""

    name, size, pad_id, eos_id, unk_id = "minimal", 130, 128, 129, None

    def encode(self, text):
        return [ord(letter) for letter in text]

    def decode(self, ids):
        return "".join(chr(index) for index in ids if index < 128)

    def fingerprint(self):
        return "minimal"


class Knowing(Minimal):
    """One that knows more."""

    bos_id, adds_bos, special_tokens = 127, False, {"<end>": 129}

    def encode_offsets(self, text):
        return [7], [(0, len(text))]


class Without(Minimal):
    """One that cannot be read."""

    @property
    def decode(self):
        raise AttributeError


@pytest.mark.parametrize("vocabulary", [as_vocabulary(Minimal()), ByteVocabulary()])
def test_everything_has_a_default(vocabulary):
    assert isinstance(vocabulary, Vocabulary)
    assert isinstance(vocabulary, BaseVocabulary)
    assert (vocabulary.bos_id, vocabulary.adds_bos, vocabulary.path, vocabulary.has_offsets) == (
        None,
        None,
        None,
        False,
    )
    assert vocabulary.encode_batch(["ab", ""]) == [vocabulary.encode("ab"), []]
    assert [array.tolist() for array in vocabulary.encode_arrays(["ab", ""])] == [vocabulary.encode("ab"), []]
    assert vocabulary.pieces("ab") == [piece.text for piece in display_pieces(vocabulary, "ab")] == ["a", "b"]
    with pytest.raises(NotImplementedError, match="does not know where its tokens stand"):
        vocabulary.encode_offsets("ab")


def test_what_is_adapted_keeps_what_it_knows():
    adapted = as_vocabulary(Knowing())
    assert (adapted.name, adapted.size, adapted.pad_id, adapted.eos_id, adapted.unk_id) == (
        "minimal",
        130,
        128,
        129,
        None,
    )
    assert (adapted.bos_id, adapted.adds_bos, adapted.special_tokens) == (127, False, {"<end>": 129})
    assert adapted.has_offsets
    assert encode_with_special_tokens(adapted, "any") == [7]
    assert (adapted.decode([97, 98]), adapted.fingerprint()) == ("ab", "minimal")
    assert encode_with_special_tokens(as_vocabulary(Minimal()), "a<end>") == [ord(letter) for letter in "a<end>"]


def test_it_is_adapted_where_it_comes_in_and_once():
    register_vocabulary("base_test", Minimal)
    try:
        registered = load_vocabulary("base_test")
    finally:
        VOCABULARIES._items.pop("base_test")
    assert isinstance(registered, AdaptedVocabulary)
    assert PrepareConfig(registered).vocabulary is as_vocabulary(registered) is registered
    assert isinstance(PrepareConfig(Minimal()).vocabulary, AdaptedVocabulary)
    bytes_ = ByteVocabulary()
    assert as_vocabulary(bytes_) is bytes_


def test_it_travels_to_other_processes():
    again = pickle.loads(pickle.dumps(as_vocabulary(Knowing())))
    assert again.encode("ab") == [97, 98]
    assert (again.bos_id, again.encode_offsets("ab")) == (127, ([7], [(0, 2)]))


def test_one_without_a_method_is_refused():
    with pytest.raises(UserError, match=r"The vocabulary 'minimal' \(Without\) has no decode, which every .*Subclass"):
        PrepareConfig(Without())
