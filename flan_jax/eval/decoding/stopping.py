"""Stop sequences: matched on the device as tokens, so that a row ends early, and cut off on the host.

Shapes: R rows of tokens, T longest output, N stop sequences, M tokens of the longest.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

_ANY = -1  # fills the table before a shorter sequence and matches every token
_NOTHING = -2  # stands before the first token and matches no token of a sequence


def stop_table(sequences: Sequence[Sequence[int]]) -> np.ndarray | None:
    """Stop sequences as int32 ``[N, M]``, aligned at their ends; ``None`` for none.

    The shape is rounded up, so that other sequences compile nothing again as a rule.

    >>> stop_table([(7,), (5, 6)]).tolist()
    [[-1, 7], [5, 6]]
    """
    if not sequences:
        return None
    rows = 1 << (len(sequences) - 1).bit_length()
    width = 1 << (max(map(len, sequences)) - 1).bit_length()
    table = np.full((rows, width), _ANY, np.int32)
    for index in range(rows):
        sequence = sequences[min(index, len(sequences) - 1)]
        table[index, width - len(sequence) :] = sequence
    return table


def stopped(
    tokens_RT: Int[Array, "*R T"], step: Int[Array, ""], table_NM: Int[Array, "N M"] | None
) -> Bool[Array, "*R"]:
    """Tells for each row whether a stop sequence ends at the token of ``step``."""
    if table_NM is None:
        return jnp.zeros(tokens_RT.shape[:-1], bool)
    width = table_NM.shape[1]
    before = [(0, 0)] * (tokens_RT.ndim - 1) + [(width, 0)]
    padded = jnp.pad(tokens_RT, before, constant_values=_NOTHING)
    last_RM = jax.lax.dynamic_slice_in_dim(padded, step + 1, width, axis=-1)
    return ((last_RM[..., None, :] == table_NM) | (table_NM == _ANY)).all(axis=-1).any(axis=-1)


def token_stops(
    stops: Sequence[str | tuple[int, ...]],
    encode: Callable[[str], Sequence[int]],
    decode: Callable[[Sequence[int]], str],
) -> list[tuple[int, ...]]:
    """Returns the token sequences at which a row may end on the device.

    A text is among them by its usual tokens, if these are the text again when read: then wherever they
    stand, the text stands. Every other way of writing it is found in the text afterwards.
    """
    found = []
    for stop in stops:
        if isinstance(stop, str):
            try:
                ids = tuple(map(int, encode(stop)))
            except (KeyError, ValueError):  # a vocabulary that does not know the text
                continue
            if ids and decode(ids) == stop:
                found.append(ids)
        else:
            found.append(stop)
    return list(dict.fromkeys(found))


def cut_at_stop(
    ids: Sequence[int], stops: Sequence[str | tuple[int, ...]], decode: Callable[[Sequence[int]], str]
) -> str:
    """Decodes ``ids`` and cuts the text at the first stop.

    >>> cut_at_stop([5, 6, 7, 8], [(6, 7)], str), cut_at_stop([5, 6, 7, 8], ["7"], str)
    ('[5]', '[5, 6, ')
    """
    ids = list(ids)
    ends = [
        place
        for stop in stops
        if not isinstance(stop, str)
        for place in range(len(ids) - len(stop) + 1)
        if tuple(ids[place : place + len(stop)]) == stop
    ]
    text = decode(ids[: min(ends)] if ends else ids)
    found = [text.find(stop) for stop in stops if isinstance(stop, str) and stop in text]
    return text[: min(found)] if found else text


def certain_part(text: str, stops: Sequence[str | tuple[int, ...]]) -> str:
    r"""Cuts from a text that is being written what its next tokens may change: half a letter, or the beginning of a stop.

    >>> certain_part("The end.\nQ", ("\nQ:",)), certain_part("caf\ufffd", ())
    ('The end.', 'caf')
    """
    text = text.rstrip("\ufffd")
    for length in range(max((len(stop) for stop in stops if isinstance(stop, str)), default=0), 0, -1):
        tail = text[-length:]
        if len(tail) == length and any(isinstance(stop, str) and stop.startswith(tail) for stop in stops):
            return text[:-length]
    return text
