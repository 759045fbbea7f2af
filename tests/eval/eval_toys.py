"""A tiny model's configuration and vocabulary for the tests of evaluation."""

from flan_jax.testing.models import tiny_t5

CONFIG = tiny_t5(d_ff=32, num_heads=4)
WORDS = {f"w{i}": i for i in range(3, 61)}


def encode(text):
    return [WORDS[word] for word in text.split()]


def decode(ids):
    return " ".join(map(str, ids))
