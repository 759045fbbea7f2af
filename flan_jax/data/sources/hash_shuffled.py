"""Slices in a hash-shuffled order, for data sets that are published sorted by their labels.

The first 30,000 tweets of Sentiment140 are negative, every one of them, and the last 200 reviews of
IMDB are positive. TFDS shuffles when it writes, the hub does not. A prefix or a tail of such a data
set is taken in an order that a hash decides instead.
"""

import dataclasses
import functools
from array import array
from collections.abc import Sequence

from flan_jax.data.sources.base import digest
from flan_jax.data.sources.holdback import HoldbackSplit
from flan_jax.data.sources.json_files import JsonSource
from flan_jax.tasks.hashing import finish_hash, hash_prefix
from flan_jax.tasks.source import Source


@dataclasses.dataclass(frozen=True)
class HashShuffledSlice:
    """A slice of the rows in the hashed order of ``name``, and of that at most ``limit``.

    >>> whole, head, tail = HashShuffledSlice("x"), HashShuffledSlice("x", stop=-2), HashShuffledSlice("x", start=-2)
    >>> sorted(whole(7)), list(whole(7)) == [*head(7), *tail(7)], len(HashShuffledSlice("x", limit=3)(7))
    ([0, 1, 2, 3, 4, 5, 6], True, 3)
    """

    name: str
    start: int | None = None
    stop: int | None = None
    limit: int | None = None

    def __call__(self, count: int) -> Sequence[int]:
        """Returns the positions, of ``count``."""
        return _order(self.name, count)[self.start : self.stop][: self.limit]

    def __str__(self) -> str:
        """As the fingerprints of prepared splits have it: under the name that the class had when they were made."""
        return repr(self).replace(type(self).__name__, "Scattered", 1)


@functools.lru_cache(maxsize=1)
def _order(name: str, count: int) -> "array[int]":
    begun = hash_prefix("scattered", name)
    return array("q", sorted(range(count), key=lambda position: (finish_hash(begun, position), position)))


@dataclasses.dataclass(frozen=True)
class HashShuffledFile(HoldbackSplit):
    """A file of which ``part`` is read: all but ``held``, or the ``held`` that validate, or the first of all.

    Records come in the file's order; which ones come is what the hash decides.

    Attributes:
        file: the file.
        part: the split of the file that is read.
        name: names the order.
        held: so many records validate, a tenth at most.
        limit: at most so many records.
        validates: the held ones are read instead of the others.
    """

    file: JsonSource
    part: str
    name: str
    held: int
    limit: int | None
    validates: bool

    @property
    def splits(self) -> tuple[str, ...]:
        """The one that it was made for."""
        return ("validation",) if self.validates else (self.part,)

    def divided(self, split: str) -> tuple[Source, str]:
        """The file."""
        return self.file, self.part

    def positions(self, split: str) -> Sequence[int]:
        """Those that the hash decides on, in the file's order."""
        count = self.file.count(self.part)
        edge = count - min(self.held, count // 10)
        start, stop = (edge, None) if self.validates else (None, edge)
        return sorted(HashShuffledSlice(self.name, start, stop, self.limit)(count))

    def fingerprint(self, split: str) -> str:
        """Digest of the file and of what is taken from it."""
        return digest("scattered", self.file.fingerprint(self.part), self.name, self.held, self.limit, self.validates)
