"""Shows a text as a vocabulary's pieces: unknown ones, and the line ends that it drops."""

import dataclasses
from collections.abc import Iterable

from flan_jax.data.tokenizers.protocol import Vocabulary, keeps_newlines

_WORD_BEGINS = "▁"  # SentencePiece's sign of the space before a word
_WINDOW = 40


@dataclasses.dataclass(frozen=True, slots=True)
class DisplayPiece:
    """One token of a text.

    Attributes:
        text: its text, as the vocabulary writes it.
        id: its id.
        unknown: the vocabulary cannot spell it.
        lost: line ends before it that the vocabulary dropped.
    """

    text: str
    id: int
    unknown: bool = False
    lost: int = 0


def display_pieces(vocabulary: Vocabulary, text: str) -> list[DisplayPiece]:
    """Returns the pieces of ``text``, an id each.

    Where the vocabulary's names of them are not one an id, they are decoded, an id at a time.
    """
    ids = [int(index) for index in vocabulary.encode(text)]
    names = list(vocabulary.pieces(text))
    if len(names) != len(ids):
        names = [vocabulary.decode([index]) for index in ids]
    lost = [0] * len(ids) if keeps_newlines(vocabulary) else _count_lost_line_ends(text, names)
    return [
        DisplayPiece(name, index, index == vocabulary.unk_id, ends)
        for name, index, ends in zip(names, ids, lost, strict=True)
    ]


def display_id_pieces(vocabulary: Vocabulary, ids: Iterable[int]) -> list[DisplayPiece]:
    """Returns a piece for every id, special tokens by their names: for texts that a chat template wrote."""
    names = {index: name for name, index in vocabulary.special_tokens.items()}
    return [
        DisplayPiece(names.get(index) or vocabulary.decode([index]), index, index == vocabulary.unk_id)
        for index in map(int, ids)
    ]


def decode_turns(vocabulary: Vocabulary, ids: Iterable[int], end: str = "") -> str:
    """Decodes ids with several ends of sequence, as turns of a chat have; ``decode`` reads up to the first only.

    Args:
        vocabulary: ids to text.
        ids: to read.
        end: written for the end of a sequence; by default its own name, or nothing where it has none.
    """
    names = {index: name for name, index in vocabulary.special_tokens.items()}
    turns: list[list[int]] = [[]]
    for index in map(int, ids):
        if index == vocabulary.eos_id:
            turns.append([])
        else:
            turns[-1].append(index)
    return (end or names.get(vocabulary.eos_id, "")).join(vocabulary.decode(turn) if turn else "" for turn in turns)


def _count_lost_line_ends(text: str, names: list[str]) -> list[int]:
    """Counts, for each piece, the line ends in the white space before it."""
    lowered = text.lower()  # as some vocabularies do
    lowered = lowered if len(lowered) == len(text) else text
    position, lost = 0, []
    for name in names:
        shown = name.strip(f"{_WORD_BEGINS} ")
        ends = 0
        if shown:
            if not text.startswith(shown, position):  # else a piece that is a line end itself
                start = position
                while position < len(text) and text[position].isspace():
                    position += 1
                ends = text.count("\n", start, position)
            window = position + _WINDOW + len(shown)
            found = min(
                (place for each in (text, lowered) if (place := each.find(shown, position, window)) >= 0), default=-1
            )
            if found >= 0:
                ends += text.count("\n", position, found)
                position = found + len(shown)
        lost.append(ends)
    return lost
