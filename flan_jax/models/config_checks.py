"""Checks that the configurations of all models share."""

from collections.abc import Iterable

from flan_jax.errors import UserError

DTYPES = ("float32", "bfloat16")
# Trained weights are the same model's whatever these fields are, for the reason given.
FREE_OF_ALL = {
    "dropout_rate": "of training",
    "dtype": "of computing, not of what is computed",
    "remat": "of memory",
    "attention": "of memory and speed",
    "pad_id": "no token sees a place without one",
    "eos_id": "of the tokenizer, and compared with it",
    "stop_ids": "of what is written, and read by nothing",
}


def check_stop_ids(owner: str, given: Iterable[int], vocab_size: int) -> tuple[int, ...]:
    """Checks ids and returns them as a tuple, each once.

    Raises:
        UserError: something else than ids of the vocabulary.
    """
    if isinstance(given, (str, int)) or not all(type(i) is int and 0 <= i < vocab_size for i in given):
        raise UserError(
            f"{owner}: stop_ids is {given!r}; give a sequence of token ids, each from 0 to {vocab_size - 1}."
        )
    return tuple(dict.fromkeys(given))
