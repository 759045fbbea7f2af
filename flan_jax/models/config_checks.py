"""Checks that the configurations of all models share."""

from collections.abc import Iterable

from flan_jax.errors import UserError

DTYPES = ("float32", "bfloat16")


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
