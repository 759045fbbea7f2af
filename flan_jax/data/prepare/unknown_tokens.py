"""Counts unknown ids, and keeps the characters or words behind the first of them."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from flan_jax.data.prepare.config import RecordCounts
from flan_jax.data.tokenizers.protocol import Vocabulary

PIECES = 12
"""Different characters or words that are kept a side, at most."""
_LOOKED_INTO = 3  # texts of a batch; the pieces are examples, not a census
_LONGEST = 2000  # characters of a text that are looked into
_SHOWN = 80


def count_unknown(
    counts: RecordCounts, vocabulary: Vocabulary, feature: str, sides: Sequence[np.ndarray], text: Callable[[int], str]
) -> None:
    """Counts the unknown ids of a batch, and the examples that have one.

    Args:
        counts: added to.
        vocabulary: whose ids they are; one without an unknown id counts nothing.
        feature: ``inputs`` or ``targets``.
        sides: ids of each example, [length] int32.
        text: position in the batch → the text that was encoded; ``""`` where it is not known.
    """
    if vocabulary.unk_id is None or not len(sides):
        return
    places = np.flatnonzero(np.concatenate(sides) == vocabulary.unk_id)
    if not len(places):
        return
    ends = np.cumsum([len(side) for side in sides])
    positions = np.unique(np.searchsorted(ends, places, side="right"))
    counts.unknown[feature] += len(places)
    counts.unknown_examples[feature] += len(positions)
    kept = counts.unknown_pieces.setdefault(feature, [])
    for position in positions[:_LOOKED_INTO].tolist():
        if len(kept) >= PIECES:
            return
        whole = text(position)
        new = [piece for piece in unknown_pieces(vocabulary, whole[:_LONGEST]) if piece not in kept]
        kept += new[: PIECES - len(kept)]
        if new and feature not in counts.unknown_texts:
            counts.unknown_texts[feature] = whole if len(whole) <= _SHOWN else f"{whole[: _SHOWN - 1]}…"


def unknown_pieces(vocabulary: Vocabulary, text: str) -> Iterator[str]:
    """Yields the unknown characters of a text, each once; a word where no single character of it is unknown."""
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
