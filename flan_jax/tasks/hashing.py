"""The counter-based source of every random choice: a hash of what the choice depends on."""

import hashlib


def counter_hash(*parts: object) -> int:
    """A 64-bit integer from the printed parts.

    >>> counter_hash(0, "rte", 7) == counter_hash(0, "rte", 7)
    True
    """
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def begun_hash(*parts: object) -> "hashlib.blake2b":
    """``counter_hash(*parts, last)`` up to its last part, which alone differs among records."""
    return hashlib.blake2b("".join(f"{part}\x1f" for part in parts).encode(), digest_size=8)


def ended_hash(begun: "hashlib.blake2b", last: object) -> int:
    """The 64-bit integer of a hash begun by ``begun_hash``.

    >>> ended_hash(begun_hash("a", 1), 7) == counter_hash("a", 1, 7)
    True
    """
    whole = begun.copy()
    whole.update(str(last).encode())
    return int.from_bytes(whole.digest(), "little")
