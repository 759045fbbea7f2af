"""What a vocabulary cannot say: its unknown ids are counted, and the characters behind the first of them kept."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from flan_jax.data.prepare.config import RecordCounts
from flan_jax.data.tokenizers.vocabulary import Vocabulary

PIECES = 12
"""At most so many different characters or words are kept a side."""
_LOOKED_INTO = 3  # texts of a batch; the pieces are examples, not a census
_LONGEST = 2000  # characters of a text that are looked into
_SHOWN = 80


def count_unknown(
    tally: RecordCounts, vocabulary: Vocabulary, feature: str, sides: Sequence[np.ndarray], text: Callable[[int], str]
) -> None:
    """Counts the unknown ids of a batch, and the examples that have one.

    Args:
        tally: counted up.
        vocabulary: whose ids they are; one without an unknown id counts nothing.
        feature: ``inputs`` or ``targets``.
        sides: ids of each example.
        text: position in the batch → the text that was encoded; ``""`` where nobody knows it.
    """
    if vocabulary.unk_id is None or not len(sides):
        return
    places = np.flatnonzero(np.concatenate(sides) == vocabulary.unk_id)
    if not len(places):
        return
    ends = np.cumsum([len(side) for side in sides])
    having = np.unique(np.searchsorted(ends, places, side="right"))
    tally.unknown[feature] += len(places)
    tally.unknown_examples[feature] += len(having)
    kept = tally.unknown_pieces.setdefault(feature, [])
    for position in having[:_LOOKED_INTO].tolist():
        if len(kept) >= PIECES:
            return
        whole = text(position)
        new = [piece for piece in unknown_pieces(vocabulary, whole[:_LONGEST]) if piece not in kept]
        kept += new[: PIECES - len(kept)]
        if new and feature not in tally.unknown_texts:
            tally.unknown_texts[feature] = whole if len(whole) <= _SHOWN else f"{whole[: _SHOWN - 1]}…"


def unknown_pieces(vocabulary: Vocabulary, text: str) -> Iterator[str]:
    """The characters of a text, or its words where no single character does it, that are unknown, each once."""
    seen: set[str] = set()
    for word in dict.fromkeys(text.split()):
        if vocabulary.unk_id not in vocabulary.encode(word):
            continue
        single = [character for character in word if vocabulary.unk_id in vocabulary.encode(character)]
        rest = "".join(character for character in word if character not in single)
        for piece in single if rest and vocabulary.unk_id not in vocabulary.encode(rest) else [word]:
            if piece not in seen:
                seen.add(piece)
                yield piece
