"""Finds which measured records stand in texts that were trained on, by three definitions (``OverlapIndex``).

From the narrowest to the widest: the record's longest text word for word; the same, normalized (case and punctuation
aside); and a share of its n-grams of normalized words, 13 words by default as in Brown et al. 2020 (appendix C). What
was put in other words is found by none of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from flan_jax.data.decontamination.ngram_search import NgramIndex
from flan_jax.data.decontamination.record_texts import normalize

Overlap = Literal["exact", "normalized", "ngram", "clean", "short"]

SHORTEST = 6
"""A longest text of fewer words stands in others by chance: its record is ``short``, and nothing is said of it."""
_BATCH = 2048


class OverlapIndex:
    """An index of measured records, to be searched for in training texts.

    Args:
        records: the texts of each record, as they are.
        n: words of an n-gram; at least 1.
        share: a record overlaps by n-grams where more than this share of its own were found, from 0 to 1. One that has
            no text of n words is looked for as a whole only.

    >>> index = OverlapIndex([["The cat sat on the mat."], ["A dog that is not to be found"], ["Short"]])
    >>> index.scan(["He said: the cat sat on the mat, and left."])
    >>> index.labels()
    ['normalized', 'clean', 'short']
    """

    def __init__(self, records: Iterable[Sequence[str]], *, n: int = 13, share: float = 0.0) -> None:
        self._share = share
        self._verbatim: list[str] = []
        self._normalized: list[str] = []
        self._ngrams: list[list[str]] = []
        for texts in records:
            longest = max(texts, key=len, default="")
            normalized = _normalized(longest)
            # Of a short record nothing is searched for, so that training texts are not read in vain.
            short = _count(normalized) < SHORTEST
            self._normalized.append("" if short else normalized)
            self._verbatim.append("" if short else _verbatim(longest))
            self._ngrams.append([] if short else [ngram for text in texts for ngram in _windows(_normalized(text), n)])
        self._indices = (
            NgramIndex(self._verbatim, SHORTEST),
            NgramIndex(self._normalized, SHORTEST),
            NgramIndex((ngram for own in self._ngrams for ngram in own), n),
        )
        self._found: tuple[set[str], ...] = (set(), set(), set())

    def __bool__(self) -> bool:
        """True where at least one record has a text to search for."""
        return any(self._normalized)

    def scan(self, texts: Iterable[str]) -> None:
        """Searches training texts; what was found in others before stays found."""
        for batch in _batches(texts):
            verbatim, normalized = ([("", of(text)) for text in batch] for of in (_verbatim, _normalized))
            for index, found, words in zip(self._indices, self._found, (verbatim, normalized, normalized), strict=True):
                found.update(text for _, text in index.search(words))

    def labels(self) -> list[Overlap]:
        """Returns the narrowest definition by which each record overlaps, in their order."""
        return [self._label(number) for number in range(len(self._normalized))]

    def _label(self, number: int) -> Overlap:
        verbatim, normalized, ngrams = self._found
        if not self._normalized[number]:
            return "short"
        if self._verbatim[number] in verbatim:
            return "exact"
        if self._normalized[number] in normalized:
            return "normalized"
        own = self._ngrams[number]
        return "ngram" if own and sum(text in ngrams for text in own) > self._share * len(own) else "clean"


def _verbatim(text: str) -> str:
    return " ".join(text.split())


def _normalized(text: str) -> str:
    return " ".join(normalize(text))


def _count(text: str) -> int:
    return text.count(" ") + 1 if text else 0


def _windows(text: str, n: int) -> Iterator[str]:
    words = text.split(" ")
    for start in range(len(words) - n + 1):
        yield " ".join(words[start : start + n])


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
