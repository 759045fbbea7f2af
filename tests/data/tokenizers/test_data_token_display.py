"""What a vocabulary makes of a text: its pieces, unknown ones and lost line ends."""

import pytest

from flan_jax.data.tokenizers.base import BaseVocabulary
from flan_jax.data.tokenizers.bytes import ByteVocabulary
from flan_jax.data.tokenizers.sentencepiece import SentencePieceVocabulary
from flan_jax.data.tokenizers.token_display import display_pieces
from flan_jax.data.tokenizers.words import WordVocabulary

TEXT = "The cat {x}\n\nOPTIONS:\n- the mat\n- ½ mat"


def test_words():
    words = WordVocabulary(["the", "cat", "mat"])
    pieces = display_pieces(words, TEXT)
    assert [piece.id for piece in pieces] == words.encode(TEXT)
    assert [piece.text for piece in pieces if piece.unknown] == ["x", "options", "½"]
    assert [(piece.text, piece.lost) for piece in pieces if piece.lost] == [("options", 2), ("-", 1), ("-", 1)]


def test_bytes_keep_everything():
    pieces = display_pieces(ByteVocabulary(), "é\n")
    assert [piece.text for piece in pieces] == ["<0xC3>", "<0xA9>", "\n"]
    assert not any(piece.lost or piece.unknown for piece in pieces)


@pytest.mark.parametrize("name", ["t5", "no_pad", "bare"])
def test_sentencepiece(sentencepiece_models, name):
    vocabulary = SentencePieceVocabulary(sentencepiece_models[name])
    pieces = display_pieces(vocabulary, TEXT)
    assert [piece.id for piece in pieces] == vocabulary.encode(TEXT)
    assert all(piece.unknown == (piece.id == vocabulary.unk_id) for piece in pieces)
    assert any("{" in piece.text for piece in pieces if piece.unknown)
    assert sum(piece.lost for piece in pieces) == TEXT.count("\n")


def test_a_vocabulary_that_names_no_pieces_has_them_decoded():
    class Letters(BaseVocabulary):
        """Ids of letters; it forgets the line ends."""

        unk_id = None

        def encode(self, text):
            return [ord(letter) for letter in text if letter != "\n"]

        def decode(self, ids):
            return "".join(map(chr, ids))

        def fingerprint(self):
            return "letters"

    assert [(piece.text, piece.lost) for piece in display_pieces(Letters(), "a\nb")] == [("a", 0), ("b", 1)]


def test_a_piece_that_is_not_in_the_text_loses_no_line_end():
    words = WordVocabulary(["is"])
    assert sum(piece.lost for piece in display_pieces(words, "İ is\nİ is")) == 1
