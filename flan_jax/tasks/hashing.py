"""Counter-based randomness: every random choice is a hash of what it depends on."""

import hashlib


def counter_hash(*parts: object) -> int:
    """Hashes the printed parts to a 64-bit integer.

    >>> counter_hash(0, "rte", 7) == counter_hash(0, "rte", 7)
    True
    """
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def hash_prefix(*parts: object) -> "hashlib.blake2b":
    """Begins ``counter_hash(*parts, last)``, of which only the last part differs among records."""
    return hashlib.blake2b("".join(f"{part}\x1f" for part in parts).encode(), digest_size=8)


def finish_hash(begun: "hashlib.blake2b", last: object) -> int:
    """Finishes a hash that ``hash_prefix`` began; a 64-bit integer.

    >>> finish_hash(hash_prefix("a", 1), 7) == counter_hash("a", 1, 7)
    True
    """
    whole = begun.copy()
    whole.update(str(last).encode())
    return int.from_bytes(whole.digest(), "little")
