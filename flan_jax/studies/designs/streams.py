"""Streams of random numbers by name: what a study draws is a function of its seed and of names, on every machine.

numpy keeps the words of its bit generators from version to version, and not what its distributions make of them; so only
the words are taken from it.
"""

import hashlib
from collections.abc import Iterable

import numpy as np

from flan_jax.tasks.hashing import counter_hash

_KEY_BYTES = 16


class Stream:
    """A stream of uniform numbers that its names decide.

    Args:
        names: of the stream, the study's seed first.
    """

    def __init__(self, *names: object) -> None:
        text = "\x1f".join(map(str, names))
        key = hashlib.blake2b(text.encode(), digest_size=_KEY_BYTES).digest()
        self._words = np.random.Philox(key=np.frombuffer(key, "<u8").astype(np.uint64))

    def uniforms(self, count: int) -> np.ndarray:
        """Returns the next ``count`` numbers, float64 [count], above 0 and below 1."""
        words = np.asarray(self._words.random_raw(count), np.uint64)
        return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def uniform(self) -> float:
        """Returns the next number."""
        return float(self.uniforms(1)[0])

    def below(self, count: int) -> int:
        """Returns the next whole number from 0 to ``count`` - 1."""
        return int(self.uniform() * count)


def shuffled(names: Iterable[str], *stream: object) -> list[str]:
    """Returns names in an order that the names of a stream decide, whatever the order in which they come.

    >>> shuffled(["a", "b", "c"], 0) == shuffled(["c", "a", "b"], 0)
    True
    """
    return sorted(names, key=lambda name: (counter_hash(*stream, name), name))
