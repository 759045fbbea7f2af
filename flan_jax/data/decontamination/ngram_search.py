"""Finds given texts inside longer ones by the hashes of their first words, then compares exactly (``NgramIndex``)."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

Tag = TypeVar("Tag")

_BATCH_WORDS = 1 << 18
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no word of a window is lost
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_SHIFT = np.uint64(31)


class NgramIndex:
    """An index of texts to search for. Texts are words with single spaces between them.

    Args:
        texts: the texts to search for; those of fewer words than ``window`` are left out.
        window: number of words that are hashed.

    >>> found = NgramIndex(["a b c", "b c d e"], window=3).search([("x", "z a b c d"), ("y", "a b d c"), ("z", "a b c")])
    >>> list(found)
    [('x', 'a b c'), ('z', 'a b c')]
    """

    def __init__(self, texts: Iterable[str], window: int) -> None:
        self.window = window
        self._texts: set[str] = set()
        self._ids: dict[str, int] = {}  # 0 is for every other word
        begins: list[list[str]] = []
        lengths: list[int] = []
        for text in texts:
            words = text.split(" ")
            if not text or len(words) < window or text in self._texts:
                continue
            self._texts.add(text)
            begins.append(words[:window])
            lengths.append(len(words))
            for word in words[:window]:
                self._ids.setdefault(word, len(self._ids) + 1)
        self._lengths: dict[int, set[int]] = {}
        for begin, length in zip(begins, lengths, strict=True):
            (key,) = self._hashes(begin).tolist()
            self._lengths.setdefault(key, set()).add(length)
        self._keys = np.array(sorted(self._lengths), np.uint64)

    def _hashes(self, words: list[str]) -> np.ndarray:
        """Hashes every window of words, [len(words) - window + 1] uint64."""
        get = self._ids.get
        ids = np.fromiter((get(word, 0) for word in words), np.uint64, len(words))
        mixed = (ids + np.uint64(1)) * _MIX
        mixed ^= mixed >> _SHIFT
        count = len(words) - self.window + 1
        total = np.zeros(count, np.uint64)
        for offset in range(self.window):
            total *= _BASE
            total += mixed[offset : offset + count]
        return total

    def search(self, texts: Iterable[tuple[Tag, str]]) -> Iterator[tuple[Tag, str]]:
        """Yields (tag, indexed text) for every indexed text inside the text of the tag, once for each text that has it.

        Args:
            texts: (tag, text) pairs, the texts to search.
        """
        words: list[str] = []
        tags: list[Tag] = []
        ends: list[int] = []
        for tag, text in texts:
            words += text.split(" ")
            words.append("")  # no indexed text goes from one text into the next
            tags.append(tag)
            ends.append(len(words))
            if len(words) >= _BATCH_WORDS:
                yield from self._search(words, tags, ends)
                words, tags, ends = [], [], []
        yield from self._search(words, tags, ends)

    def _search(self, words: list[str], tags: list[Tag], ends: list[int]) -> Iterator[tuple[Tag, str]]:
        if len(words) < self.window or not len(self._keys):
            return
        hashes = self._hashes(words)
        nearest = np.minimum(np.searchsorted(self._keys, hashes), len(self._keys) - 1)
        seen: set[tuple[int, str]] = set()
        places = np.flatnonzero(self._keys[nearest] == hashes)
        for place, owner in zip(places.tolist(), np.searchsorted(ends, places, side="right").tolist(), strict=True):
            for length in self._lengths[int(hashes[place])]:
                candidate = " ".join(words[place : place + length])
                if candidate in self._texts and (owner, candidate) not in seen:
                    seen.add((owner, candidate))
                    yield tags[owner], candidate
