"""Comparison of model configurations: the first field in which two of them compute something else from the same weights.

Which fields these are, and in which form they are compared, says the configuration itself: each is in its ``COMPARED`` or
in its ``FREE``.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

from flan_jax.models.config import ModelConfig

START = ("bos_id", "reads_start")
"""What a tokenizer says of the token in front of a text."""


class Difference(NamedTuple):
    """A field that two models have different values of; ``kind`` where they are of two kinds."""

    name: str
    theirs: Any
    ours: Any


def difference(theirs: ModelConfig, ours: ModelConfig, *, leave_out: Collection[str] = ()) -> Difference | None:
    """Finds the first field in which two models would compute different things from the same weights.

    Weights that were trained to see inputs in both directions need that again; those that were not may be trained to.

    Args:
        theirs: the model whose weights they are.
        ours: the model that is to take them.
        leave_out: fields that are not compared.
    """
    if theirs.kind != ours.kind:
        return Difference("kind", theirs.kind, ours.kind)
    for name in ours.COMPARED:
        if name in leave_out or ours.takes_weights_of(theirs, name):  # type: ignore[arg-type]
            continue
        one, other = theirs.compared(name), ours.compared(name)
        if one != other:
            plain = getattr(theirs, name), getattr(ours, name)
            return Difference(name, *(plain if plain[0] != plain[1] else (one, other)))
    return None
