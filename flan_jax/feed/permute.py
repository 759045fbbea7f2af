"""Permutations and random bits that need no memory: integer arithmetic on counters only.

Everything here works on whole arrays of 64-bit unsigned integers and wraps around on overflow,
so the results are the same on every machine.
"""

import numpy as np

_GOLDEN = 0x9E3779B97F4A7C15
_ROUNDS = 8
_U32 = np.uint64(32)

Uint64 = np.ndarray | np.uint64


def splitmix64(bits: Uint64) -> np.ndarray:
    """Applies the finalizer of splitmix64, a bijection of 64-bit integers.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    x = np.array(bits, np.uint64)
    with np.errstate(over="ignore"):  # NumPy warns of it for a single number, and only there
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return x


def fold_in(seed: int, *counters: int | np.ndarray) -> np.ndarray:
    """Folds counters into a seed, as ``jax.random.fold_in`` does: [broadcast shape] uint64 keys.

    Each counter is an integer or an array; they broadcast. Their order matters.
    """
    state = splitmix64(np.array(seed & 0xFFFFFFFFFFFFFFFF, np.uint64))
    for counter in counters:
        with np.errstate(over="ignore"):
            step = np.asarray(counter).astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(_GOLDEN)
        state = splitmix64(state ^ step)
    return state


def permute(indices: np.ndarray, sizes: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Maps index i of 0 … size − 1 under the pseudorandom permutation that a key selects.

    A Feistel network over pairs (left in 0 … a − 1, right in 0 … b − 1), b = ⌈√size⌉ and
    a = ⌈size / b⌉; a result outside the size is sent through again until it is inside (Black and
    Rogaway, "Ciphers with arbitrary finite domains", 2002: generalised Feistel and cycle walking).
    At most √size results are outside, so few are sent twice.

    Args:
        indices: [n] integers, 0 ≤ index < size.
        sizes: [n] integers, 1 ≤ size < 2**48; elements of one call may differ in size and in key.
        keys: [n] uint64.

    Returns:
        [n] int64.
    """
    size = np.asarray(sizes).astype(np.uint64)
    # Roots are rounded correctly, so below 2**48 the integer part is that of the real root; and then the ceiling.
    right = np.sqrt(size.astype(np.float64)).astype(np.uint64)
    right += right * right < size
    left = (size + right - np.uint64(1)) // right
    value = _network(np.asarray(indices).astype(np.uint64), left, right, keys)
    outside = np.flatnonzero(value >= size)
    while outside.size:
        value[outside] = _network(value[outside], left[outside], right[outside], keys[outside])
        outside = outside[value[outside] >= size[outside]]
    return value.astype(np.int64)


def _network(value: np.ndarray, a: np.ndarray, b: np.ndarray, keys: np.ndarray) -> np.ndarray:
    right = value // a
    left = value - right * a
    for step in range(_ROUNDS):
        key_of_round = keys + np.uint64((step + 1) * _GOLDEN & 0xFFFFFFFFFFFFFFFF)
        if step % 2 == 0:
            left += ((splitmix64(right ^ key_of_round) >> _U32) * a) >> _U32
            left -= a * (left >= a)
        else:
            right += ((splitmix64(left ^ key_of_round) >> _U32) * b) >> _U32
            right -= b * (right >= b)
    return right * a + left
